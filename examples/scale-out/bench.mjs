// Measures the cost of the queue, of a shard and of the merge: the figures of docs/scale.md.
//
//   node bench.mjs queue [--jobs 5000]
//   node bench.mjs embed --model PATH --image FILE [--count 96] [--threads 2]
//   node bench.mjs merge [--rows 200000] [--shard 1000] [--model PATH]
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Queue, Worker } from 'bullmq'
import { Command } from 'commander'
import { Generation } from '../../dist/lib/store/generation.js'
import { writeHeader } from '../../dist/lib/store/header.js'
import { Writer } from '../../dist/lib/store/writer.js'
import { withModel, withStore } from './lib/model.mjs'
import { shardName } from './lib/plan.mjs'
import { connect, jobOf } from './lib/queue.mjs'
import { startRedis } from './test/support.mjs'

const program = new Command('bench')
const ends = []
const work = await mkdtemp(join(tmpdir(), 'scale-out-bench-'))
ends.push(() => rm(work, { recursive: true, force: true }))
const rate = (count, ms) => Math.round((1000 * count) / ms)

/** Fields of INFO as numbers. */
async function info(client) {
  const lines = (await client.info()).split('\r\n')
  return name => Number(lines.find(line => line.startsWith(`${name}:`))?.slice(name.length + 1))
}

/** Empty shards go through the queue, to measure its cost without any computation. */
async function queueRates(jobs, appendfsync) {
  const redis = await startRedis(
    { after: end => ends.push(end) },
    join(work, `redis-${appendfsync}`),
    appendfsync,
  )
  const client = connect(redis.url, { patient: true })
  const plan = { attempts: 5, backoff: 1000, model: { fingerprint: '0'.repeat(32), dtype: 'float32' } }
  for (const concurrency of [1, 16]) {
    const queue = new Queue(`bench-${concurrency}`, { connection: client })
    await queue.waitUntilReady()
    const before = await info(client)
    const list = Array.from({ length: jobs }, (_, i) => jobOf(plan, shardName(i), '0123456789abcdef'))
    let started = performance.now()
    for (let i = 0; i < jobs; i += 500) await queue.addBulk(list.slice(i, i + 500))
    const added = performance.now() - started
    const filled = await info(client)
    const bytes = (filled('used_memory') - before('used_memory')) / jobs
    let done = 0
    started = performance.now()
    await new Promise(resolve => {
      const worker = new Worker(queue.name, async () => {}, { connection: client, concurrency })
      worker.on('completed', () => {
        if (++done === jobs) resolve(worker)
      })
    }).then(worker => {
      ends.push(() => worker.close())
    })
    const took = performance.now() - started
    const after = await info(client)
    const commands = (after('total_commands_processed') - filled('total_commands_processed')) / jobs
    const cpu = ['used_cpu_user', 'used_cpu_sys'].reduce((sum, f) => sum + after(f) - filled(f), 0)
    const aof = (after('aof_current_size') - before('aof_current_size')) / jobs
    console.log(
      `appendfsync ${appendfsync}, concurrency ${concurrency}: ${rate(jobs, added)} jobs/s added, ${rate(jobs, took)} jobs/s done; ${commands.toFixed(1)} commands and ${((1e6 * cpu) / jobs).toFixed(0)} us of Redis's processor a job; ${bytes.toFixed(0)} bytes of memory a waiting job, ${aof.toFixed(0)} of append-only file over its life`,
    )
    ends.push(() => queue.close())
  }
  ends.push(() => client.disconnect())
}

/** A store of random rows, written as `add` writes them. */
async function syntheticStore(folder, clip, first, rows) {
  const { fingerprint, embedDim } = clip.info
  await mkdir(folder, { recursive: true })
  const header = { fingerprint, embedDim, dtype: 'float32', generation: '' }
  const check = async () => {} // no other process uses this store
  await writeHeader(folder, header, check)
  const writer = await Writer.open(new Generation(folder, header), undefined, check)
  const data = Float32Array.from({ length: rows * embedDim }, () => Math.random() / Math.sqrt(embedDim))
  const names = Array.from({ length: rows }, (_, i) => `part-${(first + i) >> 12}/${first + i}.jpg`)
  await writer.append(
    names.map(id => ({ id, size: 123456, mtimeMs: 1_700_000_000_000 })),
    data,
  )
  await writer.close()
}

const mergeRate = ({ rows, shard, model }) =>
  withModel(model, {}, async clip => {
    const shards = Math.ceil(rows / shard)
    for (let i = 0; i < shards; i++) await syntheticStore(join(work, `${i}`), clip, i * shard, shard)
    const target = await clip.openStore(join(work, 'store'), { create: true })
    const started = performance.now()
    for (let i = 0; i < shards; i++)
      await withStore(clip, join(work, `${i}`), {}, source => target.merge(source))
    const took = performance.now() - started
    const sizes = await Promise.all(['vectors.bin', 'items.log'].map(name => stat(join(target.folder, name))))
    const [vectors, items] = sizes.map(({ size }) => size / target.size)
    console.log(
      `merge of ${shards} stores of ${shard} rows x ${clip.info.embedDim} float32: ${rate(target.size, took)} rows/s, ${(took / shards).toFixed(1)} ms a store; ${vectors} + ${items.toFixed(1)} bytes a row; ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB of memory at the end`,
    )
    await target.close()
  })

/** Embeds images of one size into a store as a worker does, with reading, decoding, the tower and fsync. */
async function embedRates({ model, image: file, count, threads }) {
  const { size } = await stat(file)
  for (const dtype of ['float32', 'bfloat16', 'int8'])
    await withModel(model, { dtype, threads }, async clip => {
      const rates = []
      for (let run = 0; run < 3; run++) {
        const images = Array.from({ length: count }, (_, i) => ({ id: `${run}-${i}`, image: file }))
        const started = performance.now()
        await withStore(clip, join(work, `${dtype}-${run}`), { create: true }, store => store.add(images))
        rates.push((1000 * count) / (performance.now() - started))
      }
      const best = Math.max(...rates)
      console.log(
        `${dtype}, ${threads} threads, ${size} bytes an image: ${rates.map(r => r.toFixed(1)).join(', ')} images/s, ${((1000 * threads) / best).toFixed(1)} ms of a core each`,
      )
    })
}

program
  .command('embed')
  .requiredOption('--model <path>', 'a checkpoint')
  .requiredOption('--image <file>', 'a JPEG')
  .option('--count <images>', 'a run', Number, 96)
  .option('--threads <count>', 'of the machine', Number, 2)
  .action(embedRates)
program
  .command('queue')
  .option('--jobs <count>', 'empty shards', Number, 5000)
  .action(async ({ jobs }) => {
    for (const appendfsync of ['always', 'everysec', 'no']) await queueRates(jobs, appendfsync)
  })
program
  .command('merge')
  .option('--rows <count>', 'rows in the end', Number, 200_000)
  .option('--shard <rows>', 'rows of a shard', Number, 1000)
  .option('--model <path>', 'for the width of a row (default: the embedded model)')
  .action(mergeRate)
try {
  await program.parseAsync()
} finally {
  for (const end of ends.reverse()) await end()
}
