/** linear and layerNorm as public kernels. */

import { type Dtype, type FloatDtype, type RowDtype, rowDtypes } from '../base/dtypes.js'
import { argumentError } from '../base/errors.js'
import type { NativeKernel } from '../native/surface.js'
import {
  apart,
  count,
  floats,
  number,
  object,
  outputDtype,
  outputLike,
  type Shape,
  word,
} from './arguments.js'
import { type KernelOptions, options, run } from './run.js'

declare module '../native/surface.js' {
  interface NativeKernels {
    linear: NativeKernel<{
      x: Float32Array
      weight: Float32Array
      bias?: Float32Array
      residual?: Float32Array
      out: Float32Array | Uint16Array
      rows: number
      inFeatures: number
      outFeatures: number
      /** 'relu', which is applied after the residual was added as in ResNets, is for tests only. */
      activation: 'none' | 'quickGelu' | 'gelu' | 'geluTanh' | 'relu' | 'sigmoid'
      /** x and weight are converted to this dtype first; default float32. */
      dtype?: RowDtype
      /**
       * The format in which the weights are stored; default `dtype`. 'float16' is for tests only: with float32 rows and weights
       * that float16 represents exactly, as float32 models store them.
       */
      weightDtype?: Dtype
      /** If it is bfloat16, out is a Uint16Array. */
      outDtype?: FloatDtype
    }>
    layerNorm: NativeKernel<{
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
    }>
  }
}

/** Arguments of {@link linear}. */
export interface LinearArguments<T extends Float32Array | Uint16Array = Float32Array> extends KernelOptions {
  /** `[rows, inFeatures]`: the input. */
  x: Float32Array
  /** `[outFeatures, inFeatures]`: the weight, as in torch.nn.Linear. */
  weight: Float32Array
  /** `[outFeatures]`: the bias. Default: none. */
  bias?: Float32Array
  /** `[rows, outFeatures]`: added last; may be `out` itself. Default: none. */
  residual?: Float32Array
  /** Number of rows of x. */
  rows: number
  /** Number of input features. */
  inFeatures: number
  /** Number of output features. */
  outFeatures: number
  /** Activation function; default 'none'. */
  activation?: 'none' | 'quickGelu' | 'gelu' | 'geluTanh'
  /**
   * Number format of the multiplication; default 'float32'. 'bfloat16' rounds both sides to nearest even and sums in float32.
   * 'int8' gives each row of x a scale and a zero point (unsigned bytes) and each row of weight a scale (-127 to 127),
   * and sums exactly in 32 bits; inFeatures is then at most 65536.
   */
  dtype?: 'float32' | 'bfloat16' | 'int8'
  /** `[rows, outFeatures]`: float32, or a Uint16Array for bfloat16. Default: a new Float32Array. */
  out?: T
}

/** Arguments of {@link layerNorm}. */
export interface LayerNormArguments<T extends Float32Array | Uint16Array = Float32Array>
  extends KernelOptions {
  /** `[rows, cols]`: the input. */
  x: Float32Array
  /** `[cols]`: the weight. */
  weight: Float32Array
  /** `[cols]`: the bias. */
  bias: Float32Array
  /** Number of rows; each is normalized separately. */
  rows: number
  /** Number of columns. */
  cols: number
  /** Added to the variance; default 1e-5. */
  epsilon?: number
  /** `[rows, cols]`: float32, or a Uint16Array for bfloat16. Default: a new Float32Array. */
  out?: T
}

/**
 * y = activation(x · weightᵀ + bias) + residual. quickGelu is y · sigmoid(1.702 y) (OpenAI's CLIP), gelu is
 * y · Φ(y) with the exact error function (Hendrycks and Gimpel 2016), geluTanh is its tanh form, y / 2 ·
 * (1 + tanh(√(2/π) · (y + 0.044715 y³))) (SigLIP 2, and Hugging Face's SigLIP).
 *
 * The weight is repacked at every call, which costs about as much as a few rows, so this pays off from about ten rows on.
 *
 * @returns out, [rows, outFeatures]
 */
export async function linear<T extends Float32Array | Uint16Array = Float32Array>(
  a: LinearArguments<T>,
): Promise<T> {
  a = object(a)
  const rows = count('rows', a.rows)
  const inFeatures = count('inFeatures', a.inFeatures)
  const outFeatures = count('outFeatures', a.outFeatures)
  const dtype = word('dtype', a.dtype ?? 'float32', rowDtypes)
  if (dtype === 'int8') count('inFeatures', a.inFeatures, 65536)
  const activation = word('activation', a.activation ?? 'none', ['none', 'quickGelu', 'gelu', 'geluTanh'])
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
  const outDtype = outputDtype('out', a.out)
  const out = outputLike('out', a.out, outDtype, outShape, { x, weight, bias })
  if (residual && (outDtype !== 'float32' || residual.byteOffset !== out.byteOffset))
    apart('out', out, { residual })
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
    dtype,
    outDtype,
    ...options(a),
  })
  return out as T
}

/**
 * y = (x - mean(x)) / √(variance(x) + epsilon) · weight + bias over each row, with the biased variance.
 * Ba et al. 2016; torch.nn.LayerNorm.
 *
 * @returns out, [rows, cols]
 */
export async function layerNorm<T extends Float32Array | Uint16Array = Float32Array>(
  a: LayerNormArguments<T>,
): Promise<T> {
  a = object(a)
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
  const outDtype = outputDtype('out', a.out)
  const out = outputLike('out', a.out, outDtype, shape, { x, weight, bias })
  await run('layerNorm', { x, weight, bias, out, outDtype, rows, cols, epsilon, ...options(a) })
  return out as T
}
