/**
 * The kernels of `clip-native/kernels`: typed arrays in, typed arrays out, computed off the JavaScript thread.
 *
 * All matrices are dense and row-major, float32 unless stated otherwise; bfloat16 is a Uint16Array of the upper halves of
 * float32. Every function is asynchronous and never throws synchronously: it checks every argument and rejects with a
 * TypeError or RangeError (code ERR_CLIP_INPUT) for invalid arguments, or with a `ClipError` ERR_CLIP_BACKEND (a backend
 * that this machine does not have) or ERR_CLIP_MEMORY. Arrays are read in place: do not change them until the promise
 * settles.
 *
 * @module
 */

export { type AttentionArguments, attention, causalAttention } from './kernels/attention.js'
export {
  type CosineSoftmaxArguments,
  type CosineTopKArguments,
  cosineSoftmax,
  cosineTopK,
  type MatrixTopKArguments,
  type TopK,
} from './kernels/cosine.js'
export { type InfoNceArguments, type InfoNceResult, infoNCE } from './kernels/info-nce.js'
export { type LayerNormArguments, type LinearArguments, layerNorm, linear } from './kernels/linear.js'
export { Matrix, type MatrixOptions, openMatrix } from './kernels/matrix.js'
export { type ResizeArguments, resizeBicubic } from './kernels/resize.js'
export type { KernelOptions } from './kernels/run.js'
export {
  type SoftmaxCrossEntropyArguments,
  type SoftmaxCrossEntropyResult,
  softmaxCrossEntropy,
} from './kernels/softmax-cross-entropy.js'
export type { KernelScoreKind, ScoreKind } from './native/surface.js'
