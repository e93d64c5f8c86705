/** Compares a GPU with the reference (every kernel, and both towers in every dtype), and measures its speed. */

import { readdir } from 'node:fs/promises'
import { cpus } from 'node:os'
import { basename, join } from 'node:path'
import type { Dtype } from '../../base/dtypes.js'
import { version } from '../../base/package.js'
import { readCheckpoint } from '../../checkpoint/index.js'
import type { Clip } from '../../clip.js'
import type { Embeddings } from '../../encode/embeddings.js'
import { embeddedModel, resolveModel } from '../../hub/resolve-model.js'
import { load } from '../../load.js'
import { checkKernels, identifyDevice, timeKernels } from '../../native/gpu-check.js'
import type { CudaDevice, KernelCheck, KernelTiming } from '../../native/surface.js'
import type { CheckpointChoice } from '../model.js'
import { compareWithOnnxRuntime, type PeerComparison } from './onnxruntime.js'
import { type Gpu, gpuOf } from './roofline.js'

/** The distance of a tower's embeddings from those of the reference. */
export interface TowerCheck {
  tower: 'image' | 'text'
  dtype: Dtype
  /** Largest distance between an embedding (of length 1) and that of the float32 reference. */
  distance: number
  bound: number
  /** Whether each embedding had the same bytes alone, in a batch, and when computed again. */
  sameBytes: boolean
  ok: boolean
}

export interface Timing {
  what: string
  dtype: Dtype
  items: number
  /** Milliseconds of a call: the median, and the fastest. */
  median: number
  fastest: number
  runs: number
}

export interface SelfCheck {
  version: string
  node: string
  platform: string
  cpu: string
  date: string
  device: CudaDevice
  /** The library that replaces NVIDIA's driver: nothing ran on a GPU, and the timings are meaningless. */
  standIn?: string
  model: string
  kernels: KernelCheck[]
  towers: TowerCheck[]
  timings: Timing[]
  /** The rates of the GPU's data sheet, if cuda/gpus.json has it. */
  gpu?: Gpu
  kernelTimings: KernelTiming[]
  /** The same towers by onnxruntime-node's CUDA provider. */
  onnxRuntime: PeerComparison
  ok: boolean
}

const dtypes = ['float32', 'bfloat16', 'float16'] as const

/** Unit round-off: the largest relative error of rounding a number to the type. */
const roundOff = { float32: 2 ** -24, bfloat16: 2 ** -8, float16: 2 ** -11 }

/**
 * The largest distance by which rounding is expected to move an embedding of length 1: a root mean square, all of which is
 * assumed to reach the embedding.
 *
 * The error of a rounded number is 0.425 units of round-off (root mean square, for uniform errors of numbers whose logarithm
 * is uniform). A block rounds ten matrices on the way to the residual stream (weights, layer norms, queries, keys and values,
 * the outputs of attention and of the hidden layer), and the two ends of the tower together as many as one block. These
 * errors are independent, and none weighs more in the residual stream than the stream itself, so their squares add up.
 *
 * The same holds for two computations that round at the same places (bfloat16 here and in the reference): their float32 sums
 * differ and may be rounded to different sides, so a relative difference d of the sums becomes sqrt(2 u d) of the rounded
 * numbers with each matrix, which grows to u within a block or two.
 *
 * float32: the reference sums in double, a kernel in float32, `terms` numbers in 32 lanes, and then the lanes in pairs.
 */
export function roundingNoise(dtype: (typeof dtypes)[number], layers: number, terms = 4096): number {
  const sums = dtype === 'float32' ? Math.sqrt(terms / 32 + 5) : 1
  return 0.425 * Math.sqrt(10 * (layers + 1)) * roundOff[dtype] * sums
}

/** Largest allowed distance from the reference: twice the expected one, because not every model has been tried. */
export const towerBound = (dtype: (typeof dtypes)[number], layers: number): number =>
  2 * roundingNoise(dtype, layers)

/** Euclidean. NaN where a number is NaN. */
function farthest(a: Embeddings, b: Embeddings): number {
  let most = 0
  for (let i = 0; i < b.shape[0]; i++) {
    const [x, y] = [a.row(i), b.row(i)]
    const d = Math.sqrt(x.reduce((sum, v, j) => sum + (v - y[j]!) ** 2, 0))
    if (!(d <= most)) most = d
  }
  return most
}

const bytesOf = (a: Float32Array) => Buffer.from(a.buffer, a.byteOffset, a.byteLength)

const texts = [
  'a photo of a dog',
  'a photo of a cat',
  'an icon of a key',
  'a photo of a dog in the snow, and a second one behind it',
  'rain',
]

/** A model, with options that its weight file does not determine; without a path, the embedded model. */
interface Model {
  path: string | undefined
  checkpoint: CheckpointChoice
}

interface Inputs {
  images: string[]
  texts: string[]
}

async function inputs(): Promise<Inputs> {
  const folder = join(embeddedModel, 'examples')
  const names = (await readdir(folder)).filter(name => name.endsWith('.png')).sort()
  return { images: names.slice(0, 5).map(name => join(folder, name)), texts }
}

async function encode(clip: Clip, tower: 'image' | 'text', { images, texts }: Inputs): Promise<Embeddings> {
  return tower === 'image' ? clip.encodeImage(images) : clip.encodeText(texts)
}

/** Blocks of each tower. */
async function layersOf(
  { path, checkpoint }: Model,
  signal: AbortSignal | undefined,
): Promise<Record<'image' | 'text', number>> {
  const { model: spec } = await readCheckpoint(await resolveModel(path, { signal }), {
    ...checkpoint,
    signal,
  })
  const { image, text } = spec
  return {
    image:
      image?.kind === 'modifiedResNet'
        ? image.layers.reduce((a, b) => a + b, 0)
        : image?.kind === 'convNext'
          ? image.stages.reduce((sum, { layers }) => sum + layers, 0)
          : (image?.blocks.layers ?? 0),
    text: text?.blocks.layers ?? 0,
  }
}

async function checkTowers(
  model: Model,
  layers: Record<'image' | 'text', number>,
  signal: AbortSignal | undefined,
  told: (line: string) => void,
): Promise<TowerCheck[]> {
  const given = await inputs()
  const want = new Map<string, Embeddings>()
  {
    told('the reference computes')
    await using clip = await load(model.path, { ...model.checkpoint, device: 'reference', signal })
    for (const tower of clip.info.towers) want.set(tower, await encode(clip, tower, given))
  }
  const checks: TowerCheck[] = []
  for (const dtype of dtypes) {
    told(`towers in ${dtype}`)
    await using clip = await load(model.path, { ...model.checkpoint, device: 'cuda', dtype, signal })
    for (const tower of clip.info.towers) {
      const all = await encode(clip, tower, given)
      const again = await encode(clip, tower, given) // the recorded plan, if it was recorded at once
      const third = await encode(clip, tower, given)
      const last = await encode(clip, tower, {
        images: given.images.slice(-1),
        texts: given.texts.slice(-1),
      })
      const sameBytes =
        bytesOf(all.data).equals(bytesOf(again.data)) &&
        bytesOf(all.data).equals(bytesOf(third.data)) &&
        bytesOf(all.row(all.shape[0] - 1)).equals(bytesOf(last.data))
      const distance = farthest(all, want.get(tower)!)
      const bound = towerBound(dtype, layers[tower])
      checks.push({ tower, dtype, distance, bound, sameBytes, ok: distance <= bound && sameBytes })
    }
  }
  return checks
}

/** Runs for about this many seconds and at least three times, after two uncounted runs that record the plan. */
async function time(
  what: string,
  dtype: Dtype,
  items: number,
  seconds: number,
  run: () => Promise<unknown>,
): Promise<Timing> {
  await run()
  await run()
  const times: number[] = []
  const until = performance.now() + seconds * 1000
  while (times.length < 3 || performance.now() < until) {
    const from = performance.now()
    await run()
    times.push(performance.now() - from)
  }
  times.sort((a, b) => a - b)
  return { what, dtype, items, median: times[times.length >> 1]!, fastest: times[0]!, runs: times.length }
}

async function timings(
  model: Model,
  seconds: number,
  batches: readonly number[],
  signal: AbortSignal | undefined,
  told: (line: string) => void,
): Promise<Timing[]> {
  const all: Timing[] = []
  for (const dtype of ['bfloat16', 'float16'] as const) {
    await using clip = await load(model.path, {
      ...model.checkpoint,
      device: 'cuda',
      dtype,
      signal,
      maxBatchRows: 1 << 16,
    })
    const { towers, imageSize: size } = clip.info
    for (const n of batches) {
      told(`timing ${n} in ${dtype}`)
      if (towers.includes('image') && size !== undefined) {
        const pixels = Array.from({ length: n }, (_, i) => ({
          data: Uint8Array.from({ length: 3 * size * size }, (_, j) => (i * 31 + j * 7) & 255),
          width: size,
          height: size,
          channels: 3 as const,
        }))
        all.push(await time('images, pixels ready', dtype, n, seconds, () => clip.encodeImage(pixels)))
      }
      if (towers.includes('text')) {
        const many = Array.from({ length: n }, (_, i) => `${i % 2 ? 'a photo of' : 'an icon of'} number ${i}`)
        all.push(await time('texts', dtype, n, seconds, () => clip.encodeText(many)))
      }
    }
  }
  return all
}

async function peer(
  model: Model,
  onnx: string | undefined,
  batches: readonly number[],
  seconds: number,
  signal: AbortSignal | undefined,
  told: (line: string) => void,
): Promise<PeerComparison> {
  told('onnxruntime-node')
  await using clip = await load(model.path, {
    ...model.checkpoint,
    device: 'cuda',
    dtype: 'bfloat16',
    signal,
    maxBatchRows: 1 << 16,
  })
  return compareWithOnnxRuntime(clip, onnx, batches, seconds)
}

/**
 * Checks the GPU of this machine. `model` is the model for towers and timings, as `load` takes it; default: the embedded
 * model.
 *
 * Rejects as `load({ device: 'cuda' })` does, except for kernels that differ, which are listed in the result.
 */
export async function selfCheck(options: {
  model?: string
  /** Properties that the weight file does not determine, as `load` takes them. */
  checkpoint?: CheckpointChoice
  /** A folder with ONNX files of the model (vision_model.onnx, text_model.onnx), for onnxruntime-node. */
  onnx?: string
  seconds?: number
  batches?: readonly number[]
  signal?: AbortSignal
  told?: (line: string) => void
}): Promise<SelfCheck> {
  const { onnx, seconds = 1, batches = [1, 8, 64], signal, told = () => {} } = options
  const model: Model = { path: options.model, checkpoint: options.checkpoint ?? {} }
  // Loaded before the kernels are checked, which takes a while, so that an unreadable model is reported at once.
  const layers = await layersOf(model, signal)
  const device = await identifyDevice()
  told(`${device.name}: every kernel against the reference`)
  const kernels = await checkKernels(signal)
  const differs = kernels.some(k => k.difference)
  // Models refuse a GPU whose kernels differ, so nothing more can be measured.
  const towers = differs ? [] : await checkTowers(model, layers, signal, told)
  const library = process.env.CLIP_NATIVE_LIBCUDA
  // An emulator would need days for real shapes.
  if (!differs) told('timing every kernel')
  const kernelTimings = differs ? [] : await timeKernels(seconds / 10, library !== undefined, signal)
  const gpu = gpuOf(device.name)
  return {
    version,
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
    date: new Date().toISOString(),
    device,
    ...(library ? { standIn: basename(library) } : {}),
    model: model.path === undefined ? 'icon-clip (embedded)' : basename(model.path), // no names of folders in reports
    kernels,
    towers,
    timings: differs ? [] : await timings(model, seconds, batches, signal, told),
    ...(gpu ? { gpu } : {}),
    kernelTimings,
    onnxRuntime: differs
      ? { missing: 'a kernel differs', timings: [] }
      : await peer(model, onnx, batches, seconds, signal, told),
    ok: !differs && towers.every(t => t.ok),
  }
}
