/**
 * `npm run bench -- latency [--threads N] [--seconds S]`: how long a caller waits from a file's name to its label (a JPEG of
 * 1.1 megapixels, ViT-B/32), alone and with seven others, and where the time of a call goes.
 *
 * The parts are measured in the calls themselves: reading the file, sharp's decoding, every operation of the model
 * (native/profile.h) and the scoring. The rest is what remains: the code of lib, and passing work from one thread to another.
 */

import { createRequire } from 'node:module'
import { RegularFile } from '../lib/base/regular-file.js'
import { ZeroShotScorer } from '../lib/classifier/scorers.js'
import { Call } from '../lib/encode/admission.js'
import { type Classifier, load } from '../lib/index.js'
import { testEntries } from '../lib/native/test-entries.js'
import { model } from './cases.js'
import { photograph } from './images.js'
import { type ComputeDtype, dtypesHere, type KernelOptions } from './kernels.js'
import { randomModel } from './random-model.js'
import { columns, duration, median, quantile } from './stats.js'

const labels = ['dog', 'cat', 'car', 'tree']
const callers = 8
const size = [1280, 853] as const

/** Milliseconds of one call. */
interface Parts {
  total: number
  read: number
  decode: number
  resize: number
  encode: number
  score: number
  /** From the native job's start to its result, without its operations: queueing and waking threads. */
  handOver: number
  /** Everything else. */
  rest: number
  /** What the JavaScript thread computed. */
  javascript: number
}

type Timed = 'read' | 'decode' | 'job' | 'score'
const spent: Record<Timed, number> = { read: 0, decode: 0, job: 0, score: 0 }

/** Adds the time until the promise of a method settles to `spent`. */
function time<T extends object>(on: T, method: keyof T, part: Timed): void {
  const original = on[method] as (...args: unknown[]) => Promise<unknown>
  on[method] = async function (this: unknown, ...args: unknown[]) {
    const from = performance.now()
    try {
      return await original.apply(this, args)
    } finally {
      spent[part] += performance.now() - from
    }
  } as T[keyof T]
}

function instrument(): void {
  time(RegularFile, 'open', 'read')
  time(RegularFile.prototype, 'read', 'read') // nobody waits for its end
  // As lib loads it: `import` gets other objects.
  const sharp = createRequire(import.meta.url)('sharp') as { prototype: { toBuffer(): Promise<unknown> } }
  time(sharp.prototype, 'toBuffer', 'decode')
  time(Call.prototype, 'submit', 'job')
  time(ZeroShotScorer.prototype, 'best', 'score')
}

/** One call, alone. The model must have been loaded while a profile ran. */
async function partsOf(classifier: Classifier, file: string): Promise<Parts> {
  const { measure } = testEntries()
  measure.profile({ on: false })
  for (const part of Object.keys(spent) as Timed[]) spent[part] = 0
  const computed = measure.threadTime()
  const from = performance.now()
  await classifier.classify(file, { topK: 1 })
  const total = performance.now() - from
  const javascript = measure.threadTime() - computed
  let resize = 0
  let encode = 0
  for (const { op, seconds } of measure.profile({ on: false })) {
    const ms = 1000 * seconds.reduce((sum, s) => sum + s, 0)
    if (op === 'resize') resize += ms
    else encode += ms
  }
  const { read, decode, job, score } = spent
  const handOver = job - resize - encode
  return {
    total,
    read,
    decode,
    resize,
    encode,
    score,
    handOver,
    rest: total - read - decode - job - score,
    javascript,
  }
}

/** Milliseconds of each call of so many callers at a time, and of processor time per call. */
async function waits(
  classify: () => Promise<unknown>,
  concurrent: number,
  seconds: number,
): Promise<{ waited: number[]; cpu: number }> {
  const waited: number[] = []
  const before = process.cpuUsage()
  const end = performance.now() + seconds * 1000
  const caller = async () => {
    do {
      const from = performance.now()
      await classify()
      waited.push(performance.now() - from)
    } while (performance.now() < end)
  }
  await Promise.all(Array.from({ length: concurrent }, caller))
  const { user, system } = process.cpuUsage(before)
  return { waited, cpu: (user + system) / 1000 / waited.length }
}

const quantiles = (values: number[]) => [0.5, 0.9, 0.99].map(p => duration(quantile(values, p)))
const least = (values: number[]) => values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)

/** A table per dtype. */
export async function latencyTables(o: KernelOptions): Promise<string> {
  const file = await photograph(...size)
  const folder = await randomModel(model('ViT-B/32'))
  instrument()
  let text = ''
  for (const dtype of dtypesHere()) {
    const title = `latency ViT-B/32 ${dtype}, JPEG ${size.join('x')} to label, ${o.threads} thread(s)`
    if (o.wanted(title)) text += `\n${title}\n${await table(o, dtype, folder, file)}\n`
  }
  return text
}

async function table(o: KernelOptions, dtype: ComputeDtype, folder: string, file: string): Promise<string> {
  const { measure } = testEntries()
  const clip = await load(folder, { dtype, threads: o.threads })
  const classifier = await clip.classifier(labels)
  const classify = () => classifier.classify(file, { topK: 1 })
  for (let i = 0; i < 3; i++) await classify()
  const alone = await waits(classify, 1, o.seconds)
  const together = await waits(classify, callers, o.seconds)
  await clip.dispose()

  measure.profile({ on: true })
  const profiled = await load(folder, { dtype, threads: o.threads })
  measure.profile({ on: false })
  const same = await profiled.classifier(labels)
  const all: Parts[] = []
  for (let i = 0; i < 3; i++) await partsOf(same, file)
  for (const end = performance.now() + o.seconds * 1000; performance.now() < end; )
    all.push(await partsOf(same, file))
  await profiled.dispose()

  const rows = [
    ['', 'p50', 'p90', 'p99', 'least', 'processor time', 'calls'],
    ...(
      [
        ['alone', alone],
        [`${callers} callers`, together],
      ] as const
    ).map(([name, { waited, cpu }]) => [
      name,
      ...quantiles(waited),
      duration(least(waited)),
      duration(cpu),
      `${waited.length}`,
    ]),
  ]
  const names: [keyof Parts, string][] = [
    ['read', 'reading the file'],
    ['decode', 'decoding'],
    ['resize', 'resizing'],
    ['encode', 'encoding'],
    ['score', 'scoring'],
    ['handOver', 'the native job outside its operations'],
    ['rest', 'the rest'],
    ['total', 'whole call'],
    ['javascript', 'computed on the JavaScript thread'],
  ]
  const whole = median(all.map(p => p.total))
  const parts = names.map(([key, name]) => {
    const values = all.map(p => p[key])
    return [
      name,
      ...quantiles(values),
      duration(least(values)),
      `${((100 * median(values)) / whole).toFixed(1)} %`,
    ]
  })
  return `${columns(rows)}\n\n${columns([['parts of a call alone', 'p50', 'p90', 'p99', 'least', 'of p50'], ...parts])}`
}
