/** Attention as public kernels. */

import type { FloatDtype } from '../base/dtypes.js'
import type { NativeKernel } from '../native/surface.js'
import { count, numbers, object, outputLike, type Shape } from './arguments.js'
import { type KernelOptions, options, run } from './run.js'

declare module '../native/surface.js' {
  interface NativeKernels {
    attention: NativeKernel<{
      q: Float32Array | Uint16Array
      k: Float32Array | Uint16Array
      v: Float32Array | Uint16Array
      out: Float32Array | Uint16Array
      /** Dtype of q, k and v; default float32. */
      dtype?: FloatDtype
      /** Default: dtype. */
      outDtype?: FloatDtype
      sequences: number
      length: number
      heads: number
      headDim: number
      mask: 'full' | 'causal' | 'tree'
      /**
       * For 'full' and 'causal', sequences of different lengths: the row at which the sequence of each row begins. There are as
       * many rows as elements; `sequences` and `length` are ignored.
       */
      first?: Int32Array
      /** For 'tree' only: the parent of each of the (sequences * length) rows as an index into all rows, -1 for a root. */
      parent?: Int32Array
      /** The rows that are queries; default: all rows. `out` has as many rows. */
      queryRow?: Int32Array
    }>
  }
}

/** All of q, k, v and out are float32, or all are bfloat16 (the upper halves of float32, as a Uint16Array). */
export interface AttentionArguments<T extends Float32Array | Uint16Array = Float32Array>
  extends KernelOptions {
  /** Queries, `[sequence, token, head, headDim]`. */
  q: T
  /** Keys, in the same layout as q. */
  k: T
  /** Values, in the same layout as q. */
  v: T
  /** Number of sequences, which do not attend to each other. */
  sequences: number
  /** Number of tokens per sequence. */
  length: number
  /** Number of heads, from 1 to 4096. */
  heads: number
  /** Dimension of a head, from 1 to 1024. */
  headDim: number
  /** Array to write the result to, with the layout, type and size of q; it must not overlap an input. Default: a new array. */
  out?: T
}

/**
 * Scaled dot-product attention, softmax(q kᵀ / √headDim) v for every head, for each sequence separately; every token attends
 * to all tokens of its sequence. Vaswani et al. 2017, equation 1; the image tower of Radford et al. 2021. Sums and the
 * softmax are float32 whatever the inputs are.
 *
 * @returns out, [sequence, token, head, headDim]
 */
export function attention<T extends Float32Array | Uint16Array>(a: AttentionArguments<T>): Promise<T> {
  return runAttention(a, 'full')
}

/**
 * {@link attention} in which a token attends only to itself and the tokens before it, as in the text tower of Radford et al.
 * 2021, section 2.4.
 *
 * @returns out, [sequence, token, head, headDim]
 */
export function causalAttention<T extends Float32Array | Uint16Array>(a: AttentionArguments<T>): Promise<T> {
  return runAttention(a, 'causal')
}

async function runAttention<T extends Float32Array | Uint16Array>(
  a: AttentionArguments<T>,
  mask: 'full' | 'causal',
): Promise<T> {
  a = object(a)
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
  const { array: q, dtype: of } = numbers('q', a.q, shape, ['float32', 'bfloat16'])
  const dtype = of as 'float32' | 'bfloat16'
  const k = numbers('k', a.k, shape, [dtype]).array
  const v = numbers('v', a.v, shape, [dtype]).array
  const out = outputLike('out', a.out, dtype, shape, { q, k, v })
  const shapes = { sequences, length, heads, headDim, mask }
  await run('attention', {
    q: q as T,
    k: k as T,
    v: v as T,
    out: out as T,
    dtype,
    ...shapes,
    ...options(a),
  })
  return out as T
}
