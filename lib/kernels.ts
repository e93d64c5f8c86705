/**
 * The raw kernels, as `clip-native/kernels`: typed arrays in, typed arrays out, computed off the JavaScript thread.
 *
 * All matrices are dense and row-major, float32 unless said otherwise. Every function is asynchronous, checks every
 * argument, and rejects (never throws) with a TypeError or RangeError with code ERR_CLIP_INPUT for a caller's
 * mistake, or a {@link ClipError} with ERR_CLIP_BACKEND (a backend this machine does not have) or ERR_CLIP_MEMORY.
 * Arrays are read where they are: leave them alone, and don't transfer them, until the promise settles.
 */

import { binding, fromNative, type NativeKernels } from './binding.js'
import { argumentError } from './errors.js'
import {
  apart,
  bytes,
  count,
  elements,
  floats,
  number,
  object,
  output,
  room,
  type Shape,
  sized,
  word,
} from './kernel-arguments.js'

/** What every kernel takes. */
export interface KernelOptions {
  /** 'avx512', 'avx2', 'neon', 'reference', ...: those that `devices()` lists. Default: the best this machine has. */
  backend?: string
  /** Threads to use, 1 to 256. Default: the physical cores that this process may use. */
  threads?: number
}

export interface AttentionArguments extends KernelOptions {
  /** [sequence, token, head, headDim], as k and v. */
  q: Float32Array
  k: Float32Array
  v: Float32Array
  sequences: number
  /** Tokens per sequence. */
  length: number
  heads: number
  /** 1 to 1024. */
  headDim: number
  /** Where to write: same layout and size as q, overlapping no input. Default: a new array. */
  out?: Float32Array
}

/** Which score a cosine kernel gives. */
export type ScoreKind = 'probability' | 'logit' | 'cosine'

export interface CosineSoftmaxArguments extends KernelOptions {
  /** [rows, dim]: need not be normalised. */
  queries: Float32Array
  /** [classCount, dim]: need not be normalised. */
  classes: Float32Array
  rows: number
  classCount: number
  dim: number
  /** Multiplies the cosines; CLIP's is 100 (the default). */
  logitScale?: number
  /** Default 'probability'. */
  as?: ScoreKind
  /** [rows, classCount]. */
  out?: Float32Array
}

export interface CosineTopKArguments extends Omit<CosineSoftmaxArguments, 'out'> {
  /** How many classes per query, 1 to classCount. */
  k: number
  /** [rows, k] each. */
  out?: TopK
}

/** The best classes of each query, best first; equal scores by lower index. */
export interface TopK {
  /** [rows, k]. */
  index: Int32Array
  /** [rows, k]: the scores of those classes; probabilities are over all classes. */
  value: Float32Array
}

export interface LinearArguments extends KernelOptions {
  /** [rows, inFeatures]. */
  x: Float32Array
  /** [outFeatures, inFeatures], as torch.nn.Linear stores it. */
  weight: Float32Array
  /** [outFeatures]. */
  bias?: Float32Array
  /** [rows, outFeatures], added last; may be `out` itself. */
  residual?: Float32Array
  rows: number
  inFeatures: number
  outFeatures: number
  /** Default 'none'. */
  activation?: 'none' | 'quickGelu' | 'gelu'
  /** [rows, outFeatures]. */
  out?: Float32Array
}

export interface LayerNormArguments extends KernelOptions {
  /** [rows, cols]. */
  x: Float32Array
  /** [cols]. */
  weight: Float32Array
  /** [cols]. */
  bias: Float32Array
  rows: number
  cols: number
  /** Default 1e-5. */
  epsilon?: number
  /** [rows, cols]. */
  out?: Float32Array
}

export interface ResizeArguments extends KernelOptions {
  /** [height, width, channels] bytes, rows without padding. */
  data: Uint8Array | Uint8ClampedArray
  width: number
  height: number
  /** 1 to 4. */
  channels: number
  outWidth: number
  outHeight: number
  /** [outHeight, outWidth, channels]. */
  out?: Uint8Array
}

/**
 * Scaled dot-product attention, softmax(q kᵀ / √headDim) v for every head, each sequence on its own, every token
 * seeing all tokens of its sequence. Vaswani et al. 2017, equation 1; the image tower of Radford et al. 2021.
 *
 * @returns out, [sequence, token, head, headDim]
 */
export function attention(a: AttentionArguments): Promise<Float32Array> {
  return runAttention(a, 'full')
}

/**
 * {@link attention} in which a token sees only itself and the tokens before it: the text tower of
 * Radford et al. 2021, section 2.4.
 *
 * @returns out, [sequence, token, head, headDim]
 */
export function causalAttention(a: AttentionArguments): Promise<Float32Array> {
  return runAttention(a, 'causal')
}

async function runAttention(a: AttentionArguments, mask: 'full' | 'causal'): Promise<Float32Array> {
  object(a)
  const sequences = count('sequences', a.sequences)
  const length = count('length', a.length)
  const heads = count('heads', a.heads, 4096)
  const headDim = count('headDim', a.headDim, 1024)
  const shape: Shape = [
    [sequences, 'sequences'],
    [length, 'tokens'],
    [heads, 'heads'],
    [headDim, ''],
  ]
  const q = floats('q', a.q, shape)
  const k = floats('k', a.k, shape)
  const v = floats('v', a.v, shape)
  const out = output('out', a.out, shape, { q, k, v })
  await run('attention', { q, k, v, out, sequences, length, heads, headDim, mask, ...options(a) })
  return out
}

/**
 * Scores of every class for every query: softmax over classes of logitScale · cosine(query, class), or the logits or
 * cosines themselves. Both sides are normalised inside (by a norm of at least 1e-12). Radford et al. 2021,
 * section 3.1.2.
 *
 * @returns out, [rows, classCount]
 */
export async function cosineSoftmax(a: CosineSoftmaxArguments): Promise<Float32Array> {
  const scores = scoreArguments(a)
  const shape: Shape = [
    [scores.rows, 'rows'],
    [scores.classCount, 'classes'],
  ]
  const out = output('out', a.out, shape, { queries: scores.queries, classes: scores.classes })
  await run('cosineSoftmax', { ...scores, out })
  return out
}

/**
 * The k best classes of every query, as {@link cosineSoftmax} scores them. The class matrix is read once and the
 * scores of all classes are never stored (online softmax: Milakov and Gimelshein 2018).
 *
 * @returns index and value, [rows, k] each
 */
export async function cosineTopK(a: CosineTopKArguments): Promise<TopK> {
  const scores = scoreArguments(a)
  const k = count('k', a.k, scores.classCount)
  const shape: Shape = [
    [scores.rows, 'rows'],
    [k, ''],
  ]
  if (a.out !== undefined && (typeof a.out !== 'object' || a.out === null))
    throw argumentError('out', 'be { index, value }', a.out)
  const inputs = { queries: scores.queries, classes: scores.classes }
  const value = output('out.value', a.out?.value, shape, inputs)
  let index = a.out?.index
  if (index === undefined) index = new Int32Array(scores.rows * k)
  else {
    if (!(index instanceof Int32Array)) throw argumentError('out.index', 'be an Int32Array', index)
    sized('out.index', index, shape, 'integers')
    apart('out.index', index, { ...inputs, 'out.value': value })
  }
  await run('cosineTopK', { ...scores, k, index, value })
  return { index, value }
}

/**
 * y = activation(x · weightᵀ + bias) + residual. quickGelu is y · sigmoid(1.702 y) (OpenAI's CLIP), gelu is
 * y · Φ(y) with the exact error function (Hendrycks and Gimpel 2016).
 *
 * The weight is repacked at every call, which costs about as much as a few rows: worth it from some ten rows on.
 *
 * @returns out, [rows, outFeatures]
 */
export async function linear(a: LinearArguments): Promise<Float32Array> {
  object(a)
  const rows = count('rows', a.rows)
  const inFeatures = count('inFeatures', a.inFeatures)
  const outFeatures = count('outFeatures', a.outFeatures)
  const activation = word('activation', a.activation ?? 'none', ['none', 'quickGelu', 'gelu'])
  const outShape: Shape = [
    [rows, 'rows'],
    [outFeatures, 'outFeatures'],
  ]
  const x = floats('x', a.x, [
    [rows, 'rows'],
    [inFeatures, 'inFeatures'],
  ])
  const weight = floats('weight', a.weight, [
    [outFeatures, 'outFeatures'],
    [inFeatures, 'inFeatures'],
  ])
  const bias = a.bias === undefined ? undefined : floats('bias', a.bias, [[outFeatures, 'outFeatures']])
  const residual = a.residual === undefined ? undefined : floats('residual', a.residual, outShape)
  const out = output('out', a.out, outShape, { x, weight, bias })
  if (residual && residual.byteOffset !== out.byteOffset) apart('out', out, { residual })
  await run('linear', {
    x,
    weight,
    bias,
    residual,
    out,
    rows,
    inFeatures,
    outFeatures,
    activation,
    ...options(a),
  })
  return out
}

/**
 * y = (x - mean(x)) / √(variance(x) + epsilon) · weight + bias over each row, with the biased variance.
 * Ba et al. 2016; torch.nn.LayerNorm.
 *
 * @returns out, [rows, cols]
 */
export async function layerNorm(a: LayerNormArguments): Promise<Float32Array> {
  object(a)
  const rows = count('rows', a.rows)
  const cols = count('cols', a.cols)
  const epsilon = number('epsilon', a.epsilon ?? 1e-5)
  if (epsilon < 0) throw argumentError('epsilon', 'be at least 0', epsilon, 'range')
  const shape: Shape = [
    [rows, 'rows'],
    [cols, 'cols'],
  ]
  const x = floats('x', a.x, shape)
  const weight = floats('weight', a.weight, [[cols, 'cols']])
  const bias = floats('bias', a.bias, [[cols, 'cols']])
  const out = output('out', a.out, shape, { x, weight, bias })
  await run('layerNorm', { x, weight, bias, out, rows, cols, epsilon, ...options(a) })
  return out
}

/**
 * Pillow's `Image.resize(size, Resampling.BICUBIC)`, to the last bit: antialiased, a = -0.5, fixed-point coefficients
 * of 22 bits, rounded to bytes between the two passes (libImaging/Resample.c). Channels are resized one by one;
 * Pillow multiplies RGBA and LA by their alpha first, which is the caller's business here.
 *
 * @returns out, [outHeight, outWidth, channels]
 */
export async function resizeBicubic(a: ResizeArguments): Promise<Uint8Array> {
  object(a)
  const side = 1 << 20
  const width = count('width', a.width, side)
  const height = count('height', a.height, side)
  const channels = count('channels', a.channels, 4)
  const outWidth = count('outWidth', a.outWidth, side)
  const outHeight = count('outHeight', a.outHeight, side)
  const src = bytes('data', a.data, [
    [height, 'high'],
    [width, 'wide'],
    [channels, 'channels'],
  ])
  const shape: Shape = [
    [outHeight, 'high'],
    [outWidth, 'wide'],
    [channels, 'channels'],
  ]
  if (a.out === undefined) room('out', elements(shape))
  const out = a.out === undefined ? new Uint8Array(elements(shape)) : bytes('out', a.out, shape)
  if (a.out !== undefined) apart('out', out, { data: src })
  const crop = { x: 0, y: 0, width: outWidth, height: outHeight }
  const target = { out, outWidth, outHeight, crop, filter: 'bicubic' as const }
  await run('resize', { src, width, height, channels, ...target, ...options(a) })
  return out
}

function run<K extends keyof NativeKernels>(op: K, a: Parameters<NativeKernels[K]>[0]): Promise<string> {
  return fromNative(() =>
    (binding().kernels[op] as (a: Parameters<NativeKernels[K]>[0]) => Promise<string>)(a),
  )
}

function options(a: KernelOptions): { threads: number; backend: string | undefined } {
  if (a.backend !== undefined && typeof a.backend !== 'string')
    throw argumentError('backend', 'be a string', a.backend)
  const threads = a.threads === undefined ? binding().defaultThreads() : count('threads', a.threads, 256)
  return { threads: Math.min(threads, 256), backend: a.backend }
}

function scoreArguments(a: Omit<CosineSoftmaxArguments, 'out'>) {
  object(a)
  const rows = count('rows', a.rows)
  const classCount = count('classCount', a.classCount)
  const dim = count('dim', a.dim)
  const queries = floats('queries', a.queries, [
    [rows, 'rows'],
    [dim, ''],
  ])
  const classes = floats('classes', a.classes, [
    [classCount, 'classes'],
    [dim, ''],
  ])
  const logitScale = number('logitScale', a.logitScale ?? 100)
  const as = word('as', a.as ?? 'probability', ['probability', 'logit', 'cosine'])
  return { queries, classes, rows, classCount, dim, logitScale, as, ...options(a) }
}
