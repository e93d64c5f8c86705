/** The whole native surface as one type, the loader, and the check that lib and .node are of one build. */

import { join } from 'node:path'
import { addonError } from './addon-error.js'
import type { ModelSpec, PreprocessSpec } from './checkpoint/spec.js'
import { ClipError, type ClipErrorCode, printable } from './errors.js'
import type { NativeImage, PicturePart } from './image/pixels.js'
import type { NativeLearn } from './learn/native.js'
import type { NativeCuda } from './native-cuda.js'
import type { NativeLoadOptions, WeightNames } from './native-load.js'
import type { NativeMatrix } from './native-matrix.js'
import type { NativeMeasure } from './native-measure.js'
import { fromCaller } from './stack.js'

export type { OpTimes } from './native-measure.js'
export type { NativeLoadOptions, NativeMatrix, NativeMeasure }

/** What a model computes in: float16 on CUDA only. */
export type Dtype = 'float32' | 'float16' | 'bfloat16' | 'int8'

/** A backend of this build. */
export interface NativeBackend {
  name: string
  device: 'cpu' | 'cuda' | 'reference'
  available: boolean
  reason?: string
  dtypes: Dtype[]
  /** Unit round-off per dtype: what the tests' bounds are made of. */
  epsilon: Partial<Record<Dtype, number>>
  borrowed: string
}

/**
 * A loaded model. Every method that takes `job` starts one queue entry; `cancel(job)` withdraws it (its promise then
 * rejects with code ERR_CLIP_ABORTED, which lib turns into signal.reason). Buffers are referenced until the promise
 * settles; their memory stays even if the caller transfers them.
 */
export interface NativeModel {
  readonly backend: string
  readonly active: string
  readonly device: 'cpu' | 'cuda' | 'reference'
  readonly threads: number
  readonly weightBytes: number
  readonly weightNames: WeightNames
  /** Whether the weights came from the pack cache; `reason`: why they could not be written there. */
  readonly packCache: { use: 'off' | 'mapped' | 'written' | 'failed'; file: string; reason: string }
  /** n images -> n * d floats ('tokens': n * tokens * width). */
  encodeImage(
    job: number,
    images: NativeImage[],
    output: 'embedding' | 'pooled' | 'tokens',
    normalize: boolean,
  ): Promise<Float32Array>
  /** The image tower's input for each image: n * 3 * size * size floats. */
  preprocess(job: number, images: NativeImage[]): Promise<Float32Array>
  /** What of a picture of that size reaches the tower's input, resized with the model's filter. Takes microseconds. */
  reachingPart(width: number, height: number): PicturePart
  /**
   * ids of all texts one after the other, each cut after the pooled (end) token; lengths[i] tokens each.
   * 'tokens' fills rows up to lengths[i] and leaves zeros up to max(lengths).
   */
  encodeText(
    job: number,
    ids: Int32Array,
    lengths: Int32Array,
    output: 'embedding' | 'pooled' | 'tokens',
    normalize: boolean,
  ): Promise<Float32Array>
  cancel(job: number): void
  /** Running jobs finish, queued ones reject ERR_CLIP_DISPOSED; resolves when the memory is given back. */
  dispose(): Promise<void>
  /** Rows computed since load (textNodes: those of the tries, without what chunks computed again), passes and jobs run. */
  counters(): { textRows: number; textNodes: number; imageRows: number; passes: number; jobs: number }
}

type Backend = string | undefined

/** Rows that an op writes: float32, bfloat16 (Uint16Array), or int8 (Uint8Array, with a scale and a zero per row). */
interface NarrowRows {
  out: Float32Array | Uint16Array | Uint8Array
  /** Default float32. */
  outDtype?: 'float32' | 'bfloat16' | 'int8'
  scale?: Float32Array
  zero?: Int32Array
}

interface NativeScores {
  queries: Float32Array
  classes: Float32Array | Uint16Array | Int8Array
  /** Of the classes; default float32. */
  dtype?: 'float32' | 'bfloat16' | 'int8'
  /** int8 only. */
  classScales?: Float32Array
  rows: number
  classCount: number
  dim: number
  logitScale: number
  as: 'probability' | 'logit' | 'cosine'
  threads: number
  backend: Backend
}

/** Every kernel resolves to the name of the backend that ran it: the tests check it. */
export interface NativeKernels {
  /** Shapes as in the public lib/kernels.ts, which checks them; `backend` undefined = the chosen CPU backend. */
  attention(a: {
    q: Float32Array | Uint16Array
    k: Float32Array | Uint16Array
    v: Float32Array | Uint16Array
    out: Float32Array | Uint16Array
    /** Of q, k and v; default float32. */
    dtype?: 'float32' | 'bfloat16'
    /** Default: dtype. */
    outDtype?: 'float32' | 'bfloat16'
    sequences: number
    length: number
    heads: number
    headDim: number
    mask: 'full' | 'causal' | 'tree'
    /** tree only: (sequences * length) parents, -1 at roots, relative to the whole row list. */
    parent?: Int32Array
    /** Rows that ask; all when absent. `out` then has that many rows. */
    queryRow?: Int32Array
    threads: number
    backend: Backend
  }): Promise<string>
  linear(a: {
    x: Float32Array
    weight: Float32Array
    bias?: Float32Array
    residual?: Float32Array
    out: Float32Array | Uint16Array
    rows: number
    inFeatures: number
    outFeatures: number
    /** relu, of the residual as well, is for tests only: the ResNets'. */
    activation: 'none' | 'quickGelu' | 'gelu' | 'relu'
    /** x and weight are converted to this first; default float32. */
    dtype?: 'float32' | 'bfloat16' | 'int8'
    /** For tests only: as a float32 model keeps weights that are float16 numbers, which these must be. */
    float16Weights?: boolean
    /** bfloat16: out is a Uint16Array. */
    outDtype?: 'float32' | 'bfloat16'
    threads: number
    backend: Backend
  }): Promise<string>
  layerNorm(a: {
    x: Float32Array
    weight: Float32Array
    bias: Float32Array
    out: NarrowRows['out']
    outDtype?: NarrowRows['outDtype']
    scale?: NarrowRows['scale']
    zero?: NarrowRows['zero']
    rows: number
    cols: number
    epsilon: number
    threads: number
    backend: Backend
  }): Promise<string>
  cosineSoftmax(a: NativeScores & { out: Float32Array }): Promise<string>
  cosineTopK(a: NativeScores & { index: Int32Array; value: Float32Array; k: number }): Promise<string>
  /** values: loss and its derivative by the scale. Without imagesGradient and textsGradient the loss alone. */
  infoNce(a: {
    images: Float32Array
    texts: Float32Array
    rows: number
    dim: number
    logitScale: number
    values: Float64Array
    imagesGradient?: Float32Array
    textsGradient?: Float32Array
    threads: number
    backend: Backend
  }): Promise<string>
  resize(a: {
    src: Uint8Array
    width: number
    height: number
    channels: number
    out: Uint8Array
    outWidth: number
    outHeight: number
    crop: { x: number; y: number; width: number; height: number }
    filter: 'nearest' | 'bilinear' | 'bicubic'
    threads: number
    backend: Backend
  }): Promise<string>
  /** For tests only, as all that follow: resizeAndCrop of native/model/image.h, then its normalise table: one picture to (3, size, size) floats. */
  preprocess(a: {
    image: NativeImage
    preprocess: PreprocessSpec
    out: Float32Array
    threads: number
    backend: Backend
  }): Promise<string>
  /** The ops that have no public kernel. */
  embed(a: {
    table: Float32Array
    ids: Int32Array
    positions: Float32Array
    position: Int32Array
    out: Float32Array
    rows: number
    cols: number
    threads: number
    backend: Backend
  }): Promise<string>
  convert(
    a: NarrowRows & {
      x: Float32Array
      rows: number
      cols: number
      threads: number
      backend: Backend
    },
  ): Promise<string>
  gather(a: {
    x: Float32Array
    row: Int32Array
    out: Float32Array
    count: number
    cols: number
    threads: number
    backend: Backend
  }): Promise<string>
  normalise(a: {
    x: Float32Array
    out: Float32Array
    rows: number
    cols: number
    threads: number
    backend: Backend
  }): Promise<string>
  patches(a: {
    pixels?: Uint8Array
    value?: Float32Array
    planes?: Float32Array
    out: Float32Array | Uint16Array
    outDtype?: 'float32' | 'bfloat16'
    images: number
    size: number
    patch: number
    threads: number
    backend: Backend
  }): Promise<string>
  /** max(0, convolution + bias): x (images, height, width, inChannels), weight (outChannels, kernel, kernel, inChannels). */
  conv(a: {
    x: Float32Array
    weight: Float32Array
    /** x (unless int8, whose windows are quantised one by one) and weight are converted to this first; default float32. */
    dtype?: 'float32' | 'bfloat16' | 'int8'
    bias: Float32Array
    out: Float32Array | Uint16Array
    outDtype?: 'float32' | 'bfloat16'
    images: number
    height: number
    width: number
    inChannels: number
    outChannels: number
    kernel: number
    stride: number
    pad: number
    threads: number
    backend: Backend
  }): Promise<string>
  /** Mean of windows side by side: x (images, height, width, channels). */
  pool(a: {
    x: Float32Array
    out: Float32Array | Uint16Array
    outDtype?: 'float32' | 'bfloat16'
    images: number
    height: number
    width: number
    channels: number
    kernelHeight: number
    kernelWidth: number
    threads: number
    backend: Backend
  }): Promise<string>
}

export interface NativeBinding {
  version: string
  /** Twin of INTERFACE below. */
  interface: number
  backends(): NativeBackend[]
  /** Name and features of the backend that 'auto' would run on now: "avx512+vnni+bf16". Throws like load. */
  active(): string
  defaultThreads(): number
  loadModel(
    job: number,
    spec: ModelSpec,
    preprocess: PreprocessSpec,
    options: NativeLoadOptions,
  ): Promise<NativeModel>
  /** Reads all weights for their names, without packing them. Withdrawn by cancelLoad. */
  nameWeights(job: number, spec: ModelSpec, preprocess: PreprocessSpec, threads: number): Promise<WeightNames>
  cancelLoad(job: number): void
  kernels: NativeKernels
  openMatrix(a: {
    file: string
    offset: number
    rows: number
    dim: number
    dtype: 'float32' | 'bfloat16' | 'int8'
  }): Promise<NativeMatrix>
  measure: NativeMeasure
  learn: NativeLearn
  cuda: NativeCuda
}

/** Raised with every change of the surface above; native/binding/addon.cc has the same number. */
export const INTERFACE = 8

/**
 * The package's root folder: this file lies in its dist/lib. Paths of what else is in the package are written with
 * __dirname and a literal where they are used, because that is what tracers of files (Next.js, @vercel/nft) understand.
 */
export const packageRoot = join(__dirname, '..', '..')
/** For those tracers, which don't see what node-gyp-build finds in it. */
export const prebuiltAddons = join(__dirname, '../../prebuilds')
/** The version of this package. */
export const version: string = (require('../../package.json') as { version: string }).version

let loaded: NativeBinding | undefined

/** The addon, loaded at first use. Throws ERR_CLIP_BACKEND with what was looked for, what its loader said, and what to do. */
export function binding(): NativeBinding {
  if (loaded) return loaded
  let file = process.env.CLIP_NATIVE_ADDON || undefined
  let native: NativeBinding
  try {
    file ??= (require('node-gyp-build') as { path(dir: string): string }).path(packageRoot)
    native = require(file)
  } catch (cause) {
    const { code, message } = cause as NativeError
    if (code === 'ERR_CLIP_MEMORY') throw new ClipError(code, message, { cause })
    throw addonError(packageRoot, file, cause as Error)
  }
  if (typeof native.interface !== 'number')
    throw new ClipError('ERR_CLIP_BACKEND', `${file} is a Node addon, but not clip-native's`, { file })
  if (native.interface !== INTERFACE || native.version !== version)
    throw new ClipError(
      'ERR_CLIP_BACKEND',
      `${file} is of clip-native ${native.version} (interface ${native.interface}), but ${__filename} is of ${version} (interface ${INTERFACE}). Install one of them again, or build both together: npm run build`,
      { file, expected: `${version}/${INTERFACE}`, actual: `${native.version}/${native.interface}` },
    )
  loaded = native
  return native
}

/** What native code rejects with: turned into a ClipError with a JavaScript stack by {@link fromNative}. */
interface NativeError extends Error {
  code: ClipErrorCode | 'ERR_CLIP_ABORTED'
  file?: string
  field?: string
  expected?: string
  actual?: string
  index?: number
}

/** Awaits a native promise; its failure becomes a ClipError whose stack names the caller. */
export async function fromNative<T>(start: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await start()
  } catch (error) {
    const e = error as NativeError
    if (e.code === 'ERR_CLIP_ABORTED') throw signal?.reason ?? error
    if (typeof e.code !== 'string' || !e.code.startsWith('ERR_CLIP_')) throw error
    // Errors of arguments are TypeErrors everywhere, with a stack of JavaScript.
    if (e.code === 'ERR_CLIP_INPUT')
      throw fromCaller(
        Object.assign(new TypeError(printable(e.message)), {
          code: e.code,
          field: e.field,
          ...(e.index === undefined ? {} : { index: e.index }),
        }),
      )
    throw new ClipError(e.code, e.message, {
      file: e.file,
      field: e.field,
      expected: e.expected,
      actual: e.actual,
      index: e.index,
      cause: e,
    })
  }
}
