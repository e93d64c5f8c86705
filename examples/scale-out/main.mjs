#!/usr/bin/env node
// Many images, many workers, one search store. See README.md.
import cliProgress from 'cli-progress'
import { Command, InvalidArgumentError } from 'commander'
import { makePlan, readPlan } from './lib/plan.mjs'

// Each command imports what it needs: a quarter of a second of those that do without a queue or a model.

const print = line => process.stdout.write(`${line}\n`)
const say = line => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`)

const atLeast = least => text => {
  const value = Number(text)
  if (/^\d+(\.\d+)?$/.test(text) && value >= least) return value
  throw new InvalidArgumentError(`Expected a number of at least ${least}.`)
}

/** A bar on a terminal; nothing elsewhere. */
function progressOf(total, what) {
  if (!process.stderr.isTTY) return { update() {}, stop() {} }
  const bar = new cliProgress.SingleBar({
    format: `${what} {bar} {value}/{total}  {eta_formatted} left`,
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
  })
  bar.start(total, 0)
  return bar
}

const program = new Command('scale-out').description('embed many images with many workers')
const withRedis = command =>
  command.option(
    '--redis <url>',
    'address of Redis (or REDIS_URL)',
    process.env.REDIS_URL ?? 'redis://127.0.0.1:6379',
  )

withRedis(
  program
    .command('plan')
    .description('cut a folder of images, or tars, into shards and queue them; again: queue what is not done')
    .argument('<job>', 'folder for the plan and the shards; every worker must see it')
    .argument('[sources...]', 'a folder of images, or .tar files and .txt lists of them (a tar is a shard)')
    .option('--shard-size <images>', 'images of a shard, where a folder is cut', atLeast(1), 1000)
    .option('--model <path>', 'as `load` takes it (default: the embedded model)')
    .option('--dtype <name>', 'what the model computes in', 'float32')
    .option('--store-dtype <name>', 'how vectors are kept: float32, bfloat16 or int8', 'float32')
    .option('--attempts <count>', 'how often a shard that fails is tried', atLeast(1), 5)
    .option('--backoff <ms>', 'wait before the second attempt; doubled each time', atLeast(1), 1000),
).action(async (job, sources, o) => {
  const { withModel } = await import('./lib/model.mjs')
  const { enqueue, withQueue } = await import('./lib/queue.mjs')
  const modelOf = () =>
    withModel(o.model, { dtype: o.dtype }, ({ info: { fingerprint, dtype, embedDim } }) => ({
      source: o.model ?? null,
      fingerprint,
      dtype,
      embedDim,
    }))
  const plan = await makePlan(job, sources, { ...o, modelOf })
  const bar = progressOf(plan.shards, 'queued')
  const { done, dead, queued } = await withQueue(plan, o.redis, queue =>
    enqueue(plan, queue, n => bar.update(n)),
  ).finally(() => bar.stop())
  const images = plan.images === undefined ? '' : ` of ${plan.images} images`
  const given = dead > 0 ? `, ${dead} in the dead-letter list` : ''
  print(`${plan.shards} shards${images}: ${done} done, ${queued} queued${given}`)
})

withRedis(
  program
    .command('work')
    .description('take shards until all are done; Ctrl-C: finish the current one, twice: put it back')
    .argument('<job>', 'folder of the plan')
    .option('--root <folder>', 'where this machine has the images (default: as planned)')
    .option('--model <path>', 'where this machine has the model (default: as planned)')
    .option('--threads <count>', 'threads of one pass', atLeast(1))
    .option('--device <name>', 'auto, cpu, cuda or reference')
    .option('--concurrency <shards>', 'shards at a time', atLeast(1), 1)
    .option('--lock-seconds <seconds>', 'a worker that is silent for so long is dead', atLeast(0.5), 30)
    .option('--crashes <count>', 'workers that a shard may take with it before it is given up', atLeast(0), 5)
    .option('--verbose', 'say what was lost with a connection'),
).action(async (job, o) => {
  const { work } = await import('./lib/worker.mjs')
  const code = await work(job, { ...o, say })
  // Not when Redis answers: everything is given back.
  process.exit(code)
})

withRedis(
  program
    .command('status')
    .description('how far it is; exit code 0 when every shard is done')
    .argument('<job>', 'folder of the plan')
    .option('--watch', 'until nothing is queued')
    .option('--failures', 'list images that could not be embedded, and why')
    .option('--json', 'print one JSON object'),
).action(async (job, o) => {
  const { status } = await import('./lib/status.mjs')
  process.exitCode = await status(await readPlan(job), { ...o, print })
})

withRedis(
  program
    .command('dead')
    .description('the dead-letter list: shards that were given up, and why')
    .argument('<job>', 'folder of the plan')
    .option('--retry', 'queue them again, with all their attempts')
    .option('--json', 'print one JSON object a line'),
).action(async (job, o) => {
  const { revive, withQueue } = await import('./lib/queue.mjs')
  const { deadList } = await import('./lib/status.mjs')
  const plan = await readPlan(job)
  await withQueue(plan, o.redis, async queue => {
    for (const { job: dead, shard, attempts, reason } of await deadList(queue)) {
      print(
        o.json ? JSON.stringify({ shard, attempts, reason }) : `${shard}  ${attempts} attempts: ${reason}`,
      )
      if (o.retry) await revive(plan, queue, dead)
    }
  })
})

program
  .command('merge')
  .description('finished shards into one search store; needs no Redis')
  .argument('<job>', 'folder of the plan')
  .requiredOption('--store <folder>', 'a new store, or one that takes them, too')
  .option('--model <path>', 'where this machine has the model (default: as planned)')
  .option('--allow-missing', 'merge what is done, and say what is missing')
  .option('--json', 'print one JSON object')
  .action(async (job, o) => {
    const { merge } = await import('./lib/merge.mjs')
    const plan = await readPlan(job)
    const control = new AbortController()
    process.once('SIGINT', () => control.abort(new Error('stopped; the same command goes on')))
    const bar = progressOf(plan.shards, 'merged')
    const result = await merge(plan, {
      ...o,
      signal: control.signal,
      onProgress: n => bar.update(n),
    }).finally(() => bar.stop())
    if (o.json) return print(JSON.stringify(result))
    const { size, shards, missing, failed, backends } = result
    print(
      `${o.store}: ${size} images of ${shards} shards${failed > 0 ? `, ${failed} could not be embedded` : ''}`,
    )
    if (missing.length > 0) print(`not there: ${missing.join(', ')}`)
    if (backends.length > 1)
      print(`computed on ${backends.join(' and ')}: the last bits of a vector depend on who made it`)
  })

try {
  await program.parseAsync()
} catch (error) {
  process.stderr.write(`scale-out: ${error.message}\n`)
  process.exitCode = 1
}
