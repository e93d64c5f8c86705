/**
 * `npm run bench -- profile`: bench/profile.ts. `npm run bench -- search [--rows N]`: bench/search.ts.
 * `npm run bench -- latency`: bench/latency.ts.
 * `npm run bench -- [word...] [--threads N] [--seconds S] [--models a,b] [--json] [--out FOLDER]`: kernels
 * with percent of the peak measured on this machine, towers, end to end, cold start and memory, event-loop
 * delay. Words select benchmarks by name ("linear", "ViT-B/32 float32", "cold"). Results are compared with
 * the reference before they are timed.
 */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { binding } from '../lib/native/addon.js'
import { testEntries } from '../lib/native/test-entries.js'
import { dtypesHere, type KernelOptions, kernelTasks, peakOf } from './kernels.js'
import { latencyTables } from './latency.js'
import { loadNow, machine, machineLine } from './machine.js'
import { endToEndTasks, loopTasks, startTasks, towerTasks } from './model.js'
import { plotResults } from './plot.js'
import { profileTables } from './profile.js'
import { searchTable } from './search.js'
import { columns, duration } from './stats.js'
import type { Result } from './suite.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: 'string' },
    seconds: { type: 'string', default: '1' },
    models: { type: 'string' },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
    rows: { type: 'string', default: '1000000' },
  },
})
const threads = Number(values.threads ?? binding().defaultThreads())
const where = machine()
const results: Result[] = []

const line = (r: Result): string[] => [
  r.name,
  duration(r.ns / 1e6),
  `${duration(r.middleHalf[0] / 1e6)} to ${duration(r.middleHalf[1] / 1e6)}`,
  r.gflops !== undefined
    ? `${r.gflops.toFixed(1)} G/s`
    : r.gbs !== undefined
      ? `${r.gbs.toFixed(1)} GB/s`
      : '',
  r.ofPeak === undefined ? '' : `${(100 * r.ofPeak).toFixed(0)} %`,
  r.ofPeak === undefined
    ? duration(r.fastest / 1e6)
    : `${duration(r.fastest / 1e6)} = ${((100 * r.ofPeak * r.ns) / r.fastest).toFixed(0)} %`,
  r.note ?? '',
]

const options: KernelOptions = {
  threads,
  seconds: Number(values.seconds),
  wanted: name =>
    positionals.length === 0 || positionals.some(word => name.toLowerCase().includes(word.toLowerCase())),
  done: r => {
    results.push(r)
    if (values.json) process.stdout.write(`${JSON.stringify({ ...r, load: loadNow(), machine: where })}\n`)
    else process.stderr.write(`${line(r).filter(Boolean).join('   ')}\n`)
  },
}

const peaks = await Promise.all(
  dtypesHere().map(async dtype => `${dtype} ${((await peakOf(dtype, 1)) / 1e9).toFixed(0)}`),
)
const stream = ((await testEntries().measure.stream({ threads })) / 1e9).toFixed(1)
const head = `${machineLine(where)}; threads ${threads}; peak of one thread, measured: ${peaks.join(', ')} G/s; memory ${stream} GB/s`
process.stderr.write(`${head}\n`)
if (positionals[0] === 'profile') {
  positionals.shift()
  process.stdout.write(await profileTables(options, values.models ?? 'ViT-B/32'))
  process.exit()
}
if (positionals[0] === 'latency') {
  positionals.shift()
  process.stdout.write(await latencyTables(options))
  process.exit()
}
if (positionals[0] === 'search') {
  process.stdout.write(await searchTable(Number(values.rows), Number(values.seconds)))
  process.exit()
}
await kernelTasks(options)
await towerTasks(options, (values.models ?? 'icon-clip,ViT-B/32').split(','))
await endToEndTasks(options)
await startTasks(options)
await loopTasks(options)
where.loadAfter = loadNow()
if (!values.json)
  process.stdout.write(
    `\n${columns([['', 'median', 'middle half', 'rate', 'of peak', 'fastest', ''], ...results.map(line)])}\n\nLoad average ${where.load} before, ${where.loadAfter} after, on ${where.cores} cores\n`,
  )
if (values.out) {
  await mkdir(values.out, { recursive: true })
  const name = join(
    values.out,
    `bench-${threads}t-${where.date.slice(0, 10)}-${where.commit.replace('+', 'x')}`,
  )
  await writeFile(`${name}.jsonl`, results.map(r => `${JSON.stringify({ ...r, machine: where })}\n`).join(''))
  await writeFile(
    `${name}.svg`,
    plotResults(
      results.filter(r => r.ofPeak !== undefined),
      head,
    ),
  )
  process.stderr.write(`Written: ${name}.jsonl, .svg\n`)
}
