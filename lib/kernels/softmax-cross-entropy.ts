/** The cross entropy of rows of logits, as a public kernel. */

import { argumentError } from '../base/errors.js'
import { isInt32Array, isUint8Array } from '../base/values.js'
import type { NativeKernel } from '../native/surface.js'
import {
  count,
  number,
  numbers,
  object,
  output,
  outputDtype,
  outputLike,
  type Shape,
  sized,
} from './arguments.js'
import { type KernelOptions, options, run } from './run.js'

declare module '../native/surface.js' {
  interface NativeKernels {
    /**
     * `mean`: one number, the mean over the rows that are not masked. Without `gradient`, only losses. `scale`: default 1 / the
     * number of those rows.
     */
    softmaxCrossEntropy: NativeKernel<{
      logits: Float32Array | Uint16Array | Int8Array
      /** Dtype of the logits; default float32. */
      dtype?: 'float32' | 'bfloat16' | 'int8'
      targets: Int32Array
      /** Rows with 0 are ignored. */
      mask?: Uint8Array
      loss: Float32Array
      mean: Float64Array
      gradient?: Float32Array | Uint16Array
      outDtype?: 'float32' | 'bfloat16'
      scale?: number
      rows: number
      cols: number
    }>
  }
}

/** Arguments of {@link softmaxCrossEntropy}. */
export interface SoftmaxCrossEntropyArguments<T extends Float32Array | Uint16Array = Float32Array>
  extends KernelOptions {
  /** `[rows, cols]`: float32, or a Uint16Array of bfloat16. */
  logits: Float32Array | Uint16Array
  /** `[rows]`: the target column of each row, from 0 to cols - 1. */
  targets: Int32Array
  /** `[rows]`: rows with 0 are ignored; their targets may be any integers. Default: no row is ignored. */
  mask?: Uint8Array
  /** Number of rows. */
  rows: number
  /** Number of columns: logits per row. */
  cols: number
  /** Compute the gradient too; default true. */
  gradient?: boolean
  /**
   * Factor of the gradient. Default: 1 / the number of rows that are not ignored, which gives the gradient of the mean
   * loss; 1 gives the gradient of the sum.
   */
  gradientScale?: number
  /** Arrays to write the results to. Default: new arrays, with the gradient in float32. */
  out?: {
    /** `[rows]`. */
    loss?: Float32Array
    /** `[rows, cols]`: float32, or a Uint16Array for bfloat16. May be `logits` itself, which it then replaces. */
    gradient?: T
  }
}

/** Result of {@link softmaxCrossEntropy}: the losses, and their derivatives with respect to the logits. */
export interface SoftmaxCrossEntropyResult<T extends Float32Array | Uint16Array = Float32Array> {
  /** `[rows]`: the loss of each row, in nats; 0 for a row that is ignored. */
  loss: Float32Array
  /** The mean loss of the rows that are not ignored; NaN if all are. */
  mean: number
  /** `[rows, cols]`: zeros in a row that is ignored; absent with `gradient: false`. */
  gradient?: T
}

/**
 * Softmax cross entropy: for each row of logits z with target t, loss = log(Σ exp(z)) - z[t], and the gradient gradientScale
 * · (softmax(z) - onehot(t)). It is torch.nn.functional.cross_entropy with class indices, and with `mask` in place of
 * `ignore_index`.
 *
 * Columns are read twice and probabilities are never stored. A row's results have the same bits whatever other rows it is
 * computed with. A logit of -Infinity has the probability 0; a row with a NaN, with +Infinity or with nothing but -Infinity
 * gives NaN.
 *
 * @returns the loss of each row and their mean, and the gradient unless `gradient: false`
 */
export async function softmaxCrossEntropy<T extends Float32Array | Uint16Array = Float32Array>(
  a: SoftmaxCrossEntropyArguments<T>,
): Promise<SoftmaxCrossEntropyResult<T>> {
  a = object(a)
  const rows = count('rows', a.rows)
  const cols = count('cols', a.cols)
  const shape: Shape = [
    [rows, 'rows'],
    [cols, 'cols'],
  ]
  const { array: logits, dtype } = numbers('logits', a.logits, shape, ['float32', 'bfloat16'])
  const { targets, mask } = a
  if (!isInt32Array(targets)) throw argumentError('targets', 'be an Int32Array', targets)
  sized('targets', targets, [[rows, 'rows']], 'integers')
  if (mask !== undefined) {
    if (!isUint8Array(mask)) throw argumentError('mask', 'be a Uint8Array', mask)
    sized('mask', mask, [[rows, 'rows']], 'bytes')
  }
  const scale = a.gradientScale === undefined ? undefined : number('gradientScale', a.gradientScale)
  if (a.gradient !== undefined && typeof a.gradient !== 'boolean')
    throw argumentError('gradient', 'be true or false', a.gradient)
  if (a.out !== undefined && (typeof a.out !== 'object' || a.out === null))
    throw argumentError('out', 'be { loss, gradient }', a.out)
  const inputs = { logits, targets, mask }
  const loss = output('out.loss', a.out?.loss, [[rows, 'rows']], inputs)
  const mean = new Float64Array(1)
  const common = { logits, targets, mask, loss, mean, rows, cols, dtype, scale, ...options(a) }
  if (a.gradient === false) {
    if (a.out?.gradient !== undefined)
      throw argumentError('out.gradient', 'be omitted with `gradient: false`', a.out.gradient)
    await run('softmaxCrossEntropy', common)
    return { loss, mean: mean[0]! }
  }
  const outDtype = outputDtype('out.gradient', a.out?.gradient)
  // In place: each logit is replaced after it was read for the last time.
  const inPlace = isSameMemory(a.out?.gradient, logits)
  const gradient = outputLike('out.gradient', a.out?.gradient, outDtype, shape, {
    ...inputs,
    logits: inPlace ? undefined : logits,
    'out.loss': loss,
  })
  await run('softmaxCrossEntropy', { ...common, gradient, outDtype })
  return { loss, mean: mean[0]!, gradient: gradient as T }
}

/** Whether two arrays are exactly the same memory and of the same dtype. */
const isSameMemory = (a: ArrayBufferView | undefined, b: ArrayBufferView): boolean =>
  a?.buffer === b.buffer && a.byteOffset === b.byteOffset && a.byteLength === b.byteLength
