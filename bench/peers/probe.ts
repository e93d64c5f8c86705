/**
 * A fresh process for measurements that need one: cold start and memory (`start`), the JavaScript thread
 * (`blocking`), the class matrix (`topk`), decoding (`jpeg`), the whole ImageNet classifier (`classifier`).
 * Arguments and result are JSON. It imports only its own side, so that neither pays for the other.
 */

import { pixels } from './pixels.js'

export interface StartProbe {
  probe: 'start'
  side: 'ours' | 'ort'
  source: string
  dtype: 'float32' | 'bfloat16' | 'int8'
  threads: number
  size: number
  packCache?: boolean
}
export interface BlockingProbe extends Omit<StartProbe, 'probe'> {
  probe: 'blocking'
  /** Ours encodes this file from disk; the other side gets pixels. */
  file: string
  runs: number
}
export interface TopKProbe {
  probe: 'topk'
  threads: number
  sweeps: number
}
export interface JpegProbe {
  probe: 'jpeg'
  source: string
  files: string[]
  sweeps: number
}
export interface ClassifierProbe {
  probe: 'classifier'
  source: string
  dtype: 'float32' | 'bfloat16'
  threads: number
  labels: string[]
}
export type Probe = StartProbe | BlockingProbe | TopKProbe | JpegProbe | ClassifierProbe

type Encode = (image: string | undefined) => Promise<Float32Array>

async function open(p: StartProbe | BlockingProbe): Promise<Encode> {
  const data = pixels(1, p.size)
  if (p.side === 'ours') {
    const { load } = await import('../../lib/index.js')
    const options = {
      dtype: p.dtype,
      threads: p.threads,
      towers: ['image' as const],
      ...(p.packCache ? { packCache: true } : {}),
    }
    const clip = await load(p.source, options)
    const shape: [number, number, number, number] = [1, 3, p.size, p.size]
    return async image => (await clip.encodeImage(image ?? { data, shape })).data
  }
  const { createRequire } = await import('node:module')
  const require = createRequire(new URL('../../../bench/peers/package.json', import.meta.url))
  const ort = require('onnxruntime-node') as import('./ort.js').OrtModule
  const session = await ort.InferenceSession.create(p.source, {
    intraOpNumThreads: p.threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
    executionMode: 'sequential',
  })
  return async () => {
    const out = await session.run({ pixel_values: new ort.Tensor('float32', data, [1, 3, p.size, p.size]) })
    return out.image_embeds!.data as Float32Array
  }
}

async function start(p: StartProbe): Promise<unknown> {
  const encode = await open(p)
  const values = await encode(undefined)
  process.stdout.write('first\n')
  const { user, system } = process.cpuUsage()
  return { cpu: (user + system) / 1000, ok: values.every(Number.isFinite), rss: process.memoryUsage().rss }
}

/**
 * The longest time between two turns of a loop that never waits, in ms: the delay that other code on this
 * thread would have had.
 */
async function longestTurn(work: () => Promise<unknown>): Promise<number> {
  let [on, last, longest] = [true, performance.now(), 0]
  const turn = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (on) setImmediate(turn)
  }
  setImmediate(turn)
  await work()
  await new Promise(resolve => setImmediate(resolve))
  on = false
  return longest
}

/**
 * The effect of one encode on the JavaScript thread, in ms. `busy`: total activity of the event loop;
 * `longest`: its longest turn; `nothing`: the longest turn of an equally long wait for a timer, which is
 * caused by the machine itself.
 */
async function blocking(p: BlockingProbe): Promise<unknown> {
  const encode = await open(p)
  const image = p.side === 'ours' ? p.file : undefined
  for (let i = 0; i < 5; i++) await encode(image)
  const busy: number[] = []
  for (let i = 0; i < p.runs; i++) {
    await new Promise(resolve => setTimeout(resolve, 5))
    const before = performance.eventLoopUtilization()
    await encode(image)
    // Waits until the turn that settles the promise has ended, before the next one is measured.
    await new Promise(resolve => setImmediate(resolve))
    busy.push(performance.eventLoopUtilization(before).active)
  }
  const longest: number[] = []
  const nothing: number[] = []
  for (let i = 0; i < p.runs; i++) {
    const from = performance.now()
    longest.push(await longestTurn(() => encode(image)))
    const took = performance.now() - from
    nothing.push(await longestTurn(() => new Promise(resolve => setTimeout(resolve, took))))
  }
  return { busy, longest, nothing }
}

async function jpeg(p: JpegProbe): Promise<unknown> {
  const { default: sharp } = await import('sharp')
  const { load } = await import('../../lib/index.js')
  sharp.concurrency(1)
  sharp.cache(false)
  const clip = await load(p.source, { towers: ['image'], threads: 1 })
  const result: { file: string; ours: number[]; sharp: number[] }[] = []
  for (const file of p.files) {
    const times = { ours: [] as number[], sharp: [] as number[] }
    const sides = {
      ours: () => clip.preprocess(file),
      sharp: () => sharp(file).raw().toBuffer(),
    }
    for (let sweep = -1; sweep < p.sweeps; sweep++)
      for (const side of sweep % 2 ? (['ours', 'sharp'] as const) : (['sharp', 'ours'] as const)) {
        const from = performance.now()
        await sides[side]()
        if (sweep >= 0) times[side].push(performance.now() - from)
      }
    result.push({ file, ...times })
  }
  return result
}

async function classifier(p: ClassifierProbe): Promise<unknown> {
  const { load, templates } = await import('../../lib/index.js')
  const clip = await load(p.source, { towers: ['text'], dtype: p.dtype, threads: p.threads })
  await clip.classifier(['warm', 'up'], { templates: templates.imagenet80 })
  const from = performance.now()
  await clip.classifier(p.labels, { templates: templates.imagenet80 })
  return { ms: performance.now() - from }
}

async function main(): Promise<void> {
  const p = JSON.parse(process.argv[2]!) as Probe
  let result: unknown
  try {
    if (p.probe === 'start') result = await start(p)
    else if (p.probe === 'blocking') result = await blocking(p)
    else if (p.probe === 'jpeg') result = await jpeg(p)
    else if (p.probe === 'classifier') result = await classifier(p)
    else result = await (await import('./top-k.js')).measureTopK(p.threads, p.sweeps)
  } catch (error) {
    const { code, message } = error as Error & { code?: string }
    result = { error: { code, message } }
  }
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0))
}

void main()
