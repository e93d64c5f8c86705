/**
 * Runs the same towers with onnxruntime-node's CUDA provider, if it is installed, to compare the times. It is not a dependency:
 * the code looks for it and reports what is missing.
 */

import { readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { packageRoot } from '../../base/package.js'
import type { Clip } from '../../clip.js'

interface Tensor {
  data: Float32Array | BigInt64Array
}
interface Session {
  inputNames: readonly string[]
  outputNames: readonly string[]
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>
  release(): Promise<void>
}
/** The part of its API that is used here. */
interface Module {
  InferenceSession: { create(file: string, options: Record<string, unknown>): Promise<Session> }
  Tensor: new (type: string, data: Float32Array | BigInt64Array, dims: readonly number[]) => Tensor
}

/** A tower with a batch size, measured on both sides: milliseconds of the fastest of several calls. */
export interface PeerTiming {
  what: string
  items: number
  ours: number
  theirs: number
  /** Largest distance between the normalized embeddings of both sides. */
  distance: number
}

export interface PeerComparison {
  /** Version of onnxruntime-node, if it is installed. */
  version?: string
  /** Why there is nothing to compare. */
  missing?: string
  timings: PeerTiming[]
}

async function find(places: readonly string[]): Promise<{ module: Module; version: string } | undefined> {
  for (const place of places) {
    const require = createRequire(join(place, 'package.json'))
    let entry: string
    try {
      entry = require.resolve('onnxruntime-node')
    } catch {
      continue
    }
    return { module: require('onnxruntime-node') as Module, version: await versionOf(entry) }
  }
  return undefined
}

/** The version of the package that a file belongs to. */
async function versionOf(file: string): Promise<string> {
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => undefined)
    const { name, version } = text ? JSON.parse(text) : {}
    if (name === 'onnxruntime-node') return String(version)
  }
  return 'unknown'
}

/** The float32 file of a tower in a folder, as transformers' exporters name it: vision_model.onnx, text_model.onnx. */
async function towerFile(folder: string, tower: 'vision' | 'text'): Promise<string | undefined> {
  const names = (await readdir(folder).catch(() => [])).sort()
  const name = names.find(n => new RegExp(`^${tower}_model(-v\\d+)?\\.onnx$`).test(n))
  return name && join(folder, name)
}

/** The rows, scaled to length 1. */
function directions(data: Float32Array, items: number): Float32Array[] {
  const width = data.length / items
  return Array.from({ length: items }, (_, i) => {
    const row = data.slice(i * width, (i + 1) * width)
    const length = Math.hypot(...row)
    return row.map(v => v / length)
  })
}

function farthest(a: Float32Array, b: Float32Array, items: number): number {
  const [x, y] = [directions(a, items), directions(b, items)]
  // NaN counts as the largest distance.
  return Math.max(...x.map((row, i) => Math.hypot(...row.map((v, j) => v - y[i]![j]!))))
}

/** Measures both alternately, so that a slowdown of the machine affects both. */
async function byTurns(
  seconds: number,
  ours: () => Promise<Float32Array>,
  theirs: () => Promise<Float32Array>,
): Promise<{ ours: number; theirs: number; results: [Float32Array, Float32Array] }> {
  await ours() // recorded here
  let results: [Float32Array, Float32Array] = [await ours(), await theirs()]
  const fastest = { ours: Number.POSITIVE_INFINITY, theirs: Number.POSITIVE_INFINITY }
  const until = performance.now() + 2000 * seconds
  for (let run = 0; run < 3 || performance.now() < until; run++) {
    const start = performance.now()
    const a = await ours()
    const middle = performance.now()
    const b = await theirs()
    fastest.ours = Math.min(fastest.ours, middle - start)
    fastest.theirs = Math.min(fastest.theirs, performance.now() - middle)
    results = [a, b]
  }
  return { ...fastest, results }
}

/**
 * Times `clip` and the ONNX files of the same model in `folder` on the same inputs, including the copies from and to the memory
 * of this process, and compares the results. Does not reject if something of onnxruntime-node is missing.
 */
export async function compareWithOnnxRuntime(
  clip: Clip,
  folder: string | undefined,
  batches: readonly number[],
  seconds: number,
  /** The folders whose node_modules may have the module: that of this package, and that of the running program. */
  places: readonly string[] = [packageRoot, process.cwd()],
): Promise<PeerComparison> {
  const found = await find(places).catch((cause: Error) => cause)
  if (found === undefined) return { missing: 'onnxruntime-node is not installed', timings: [] }
  if (found instanceof Error)
    return { missing: `onnxruntime-node can't be loaded: ${found.message}`, timings: [] }
  const { module, version } = found
  if (folder === undefined) return { version, missing: 'no ONNX files were given (--onnx)', timings: [] }
  const timings: PeerTiming[] = []
  for (const tower of ['vision', 'text'] as const) {
    if (!clip.info.towers.includes(tower === 'vision' ? 'image' : 'text')) continue
    const file = await towerFile(folder, tower)
    if (!file) return { version, missing: `${folder} has no ${tower}_model.onnx`, timings }
    let session: Session
    try {
      session = await module.InferenceSession.create(file, { executionProviders: ['cuda'] })
    } catch (cause) {
      const why = (cause as Error).message.split('\n')[0]
      return { version, missing: `onnxruntime-node has no CUDA provider here: ${why}`, timings }
    }
    try {
      for (const n of batches) timings.push(await compareTower(clip, module, session, tower, n, seconds))
    } finally {
      await session.release()
    }
  }
  return { version, timings }
}

async function compareTower(
  clip: Clip,
  { Tensor }: Module,
  session: Session,
  tower: 'vision' | 'text',
  n: number,
  seconds: number,
): Promise<PeerTiming> {
  const output = session.outputNames.find(name => name.endsWith('_embeds')) ?? session.outputNames[0]!
  const theirs = (feeds: Record<string, Tensor>) => async () =>
    (await session.run(feeds))[output]!.data as Float32Array
  if (tower === 'vision') {
    const side = clip.info.imageSize!
    const data = Float32Array.from({ length: n * 3 * side * side }, (_, i) => Math.sin(i * 0.7))
    const shape = [n, 3, side, side] as const
    const image = { data, shape: [...shape] as [number, number, number, number] }
    const feeds = { pixel_values: new Tensor('float32', data, shape) }
    const times = await byTurns(seconds, async () => (await clip.encodeImage(image)).data, theirs(feeds))
    return { what: 'images', items: n, ...rest(times, n) }
  }
  const texts = Array.from({ length: n }, (_, i) => `${i % 2 ? 'a photo of' : 'an icon of'} number ${i}`)
  const tokens = await clip.tokenize(texts)
  // Padded only to the longest text, as its users do, for a fair comparison.
  const [padded, longest] = [tokens.shape[1], Math.max(...tokens.lengths)]
  const ids = BigInt64Array.from({ length: n * longest }, (_, i) =>
    BigInt(tokens.ids[Math.floor(i / longest) * padded + (i % longest)]!),
  )
  const shape = [n, longest]
  const feeds: Record<string, Tensor> = { input_ids: new Tensor('int64', ids, shape) }
  if (session.inputNames.includes('attention_mask'))
    feeds.attention_mask = new Tensor('int64', new BigInt64Array(n * longest).fill(1n), shape)
  const times = await byTurns(seconds, async () => (await clip.encodeText(texts)).data, theirs(feeds))
  return { what: `texts of up to ${longest} tokens`, items: n, ...rest(times, n) }
}

const rest = (
  { ours, theirs, results }: Awaited<ReturnType<typeof byTurns>>,
  n: number,
): Pick<PeerTiming, 'ours' | 'theirs' | 'distance'> => ({
  ours,
  theirs,
  distance: farthest(results[0], results[1], n),
})
