#!/usr/bin/env node
// Embeds many images with many workers into one search store. See README.md.
import cliProgress from 'cli-progress'
import { Command, InvalidArgumentError } from 'commander'
import { makePlan, readPlan } from './lib/plan.mjs'

// Each command imports what it needs, which saves a quarter of a second for those without a queue or a model.

const print = line => process.stdout.write(`${line}\n`)
const say = line => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`)

const atLeast = least => text => {
  const value = Number(text)
  if (/^\d+(\.\d+)?$/.test(text) && value >= least) return value
  throw new InvalidArgumentError(`Expected a number of at least ${least}.`)
}

/** A progress bar on a terminal; elsewhere nothing. */
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
    .description(
      'divide a folder of images, or tars, into shards and queue them; if run again, queue those that are not done',
    )
    .argument('<job>', 'folder for the plan and the shards; every worker must see it')
    .argument('[sources...]', 'a folder of images, or .tar files and .txt lists of them (a tar is a shard)')
    .option('--shard-size <images>', 'images per shard of a folder', atLeast(1), 1000)
    .option('--model <path>', 'model name, Hugging Face id, file or folder (default: the embedded model)')
    .option('--dtype <name>', 'number format in which the model computes', 'float32')
    .option(
      '--store-dtype <name>',
      'number format of the stored vectors: float32, bfloat16 or int8',
      'float32',
    )
    .option('--attempts <count>', 'number of attempts for a shard that fails', atLeast(1), 5)
    .option(
      '--backoff <ms>',
      'wait before the second attempt, doubled for each further one',
      atLeast(1),
      1000,
    ),
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
    .description(
      'work on shards until all are done; Ctrl-C finishes the current one first, and a second Ctrl-C puts it back',
    )
    .argument('<job>', 'folder of the plan')
    .option('--root <folder>', 'location of the images on this machine (default: as in the plan)')
    .option('--model <path>', 'location of the model on this machine (default: as in the plan)')
    .option('--threads <count>', 'threads per pass', atLeast(1))
    .option('--device <name>', 'auto, cpu, cuda or reference')
    .option('--concurrency <shards>', 'number of shards to work on at a time', atLeast(1), 1)
    .option(
      '--lock-seconds <seconds>',
      'time after which a silent worker is considered dead',
      atLeast(0.5),
      30,
    )
    .option(
      '--crashes <count>',
      'number of workers that may crash on a shard before it goes to the dead-letter list',
      atLeast(0),
      5,
    )
    .option('--verbose', 'report lost connections and locks'),
).action(async (job, o) => {
  const { work } = await import('./lib/worker.mjs')
  const code = await work(job, { ...o, say })
  // Not needed if Redis answers, because then everything has been put back.
  process.exit(code)
})

withRedis(
  program
    .command('status')
    .description('show the progress; the exit code is 0 if every shard is done')
    .argument('<job>', 'folder of the plan')
    .option('--watch', 'follow the progress until nothing is queued')
    .option('--failures', 'list the images that could not be embedded, with the reasons')
    .option('--json', 'print one JSON object'),
).action(async (job, o) => {
  const { status } = await import('./lib/status.mjs')
  process.exitCode = await status(await readPlan(job), { ...o, print })
})

withRedis(
  program
    .command('dead')
    .description('show the dead-letter list: shards that failed in all attempts, with the reasons')
    .argument('<job>', 'folder of the plan')
    .option('--retry', 'queue these shards again, with all their attempts')
    .option('--json', 'print one JSON object per line'),
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
  .description('merge the finished shards into one search store; needs no Redis')
  .argument('<job>', 'folder of the plan')
  .requiredOption('--store <folder>', 'a new store, or an existing one to add to')
  .option('--model <path>', 'location of the model on this machine (default: as in the plan)')
  .option('--allow-missing', 'merge the shards that are done, and list the missing ones')
  .option('--json', 'print one JSON object')
  .action(async (job, o) => {
    const { merge } = await import('./lib/merge.mjs')
    const plan = await readPlan(job)
    const control = new AbortController()
    process.once('SIGINT', () => control.abort(new Error('stopped; run the same command to continue')))
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
    if (missing.length > 0) print(`missing: ${missing.join(', ')}`)
    if (backends.length > 1)
      print(`computed on ${backends.join(' and ')}: the last bits of a vector depend on the backend`)
  })

try {
  await program.parseAsync()
} catch (error) {
  process.stderr.write(`scale-out: ${error.message}\n`)
  process.exitCode = 1
}
