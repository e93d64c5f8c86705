/** Public kernels that score queries against a matrix of classes. */

import { allocate } from '../base/allocate.js'
import { type RowDtype, rowDtypes } from '../base/dtypes.js'
import { argumentError } from '../base/errors.js'
import { checkSignal } from '../base/options.js'
import { isFloat32Array, isInt32Array } from '../base/values.js'
import type { KernelScoreKind, NativeKernel } from '../native/surface.js'
import {
  apart,
  count,
  floats,
  number,
  numbers,
  object,
  output,
  type Shape,
  sized,
  word,
} from './arguments.js'
import { isMatrix, type Matrix, topKOfMatrix } from './matrix.js'
import { type KernelOptions, options, run } from './run.js'

interface NativeScores {
  queries: Float32Array
  classes: Float32Array | Uint16Array | Int8Array
  /** Dtype of the classes; default float32. */
  dtype?: RowDtype
  /** int8 only. */
  classScales?: Float32Array
  rows: number
  classCount: number
  dim: number
  logitScale: number
  as: KernelScoreKind
  /** Added to the logits; default 0. */
  logitBias?: number
}

declare module '../native/surface.js' {
  interface NativeKernels {
    cosineSoftmax: NativeKernel<NativeScores & { out: Float32Array }>
    cosineTopK: NativeKernel<NativeScores & { index: Int32Array; value: Float32Array; k: number }>
  }
}

interface ScoreArguments extends KernelOptions {
  /** `[rows, dim]` float32; need not be normalized. */
  queries: Float32Array
  /** Number of queries. */
  rows: number
  /** Dimension of queries and classes. */
  dim: number
  /** Factor of the cosines; default 100, as in OpenAI's models. */
  logitScale?: number
  /** Added to the scaled cosines; default 0. SigLIP's models have one. */
  logitBias?: number
  /** Kind of score; default 'probability', the softmax over the classes. */
  as?: KernelScoreKind
}

interface ClassMatrix {
  /**
   * `[classCount, dim]`; need not be normalized. float32, a Uint16Array of bfloat16 (with bit-identical scores to the same
   * numbers in float32), or an Int8Array: then the query is rounded to 15 bits (in steps of its largest magnitude / 16383),
   * and the dot product is exact.
   */
  classes: Float32Array | Uint16Array | Int8Array
  /** Number of classes. */
  classCount: number
  /**
   * `[classCount]`, for int8 classes only: the values of a row are scale · byte. A positive scale cancels out of a cosine,
   * so it is rarely needed; a negative scale inverts the sign, 0 makes a zero vector, and NaN or an infinity gives NaN.
   */
  classScales?: Float32Array
}

/** Arguments of {@link cosineSoftmax}. */
export interface CosineSoftmaxArguments extends ScoreArguments, ClassMatrix {
  /** `[rows, classCount]`: array to write the scores to. Default: a new array. */
  out?: Float32Array
}

interface TopKArguments {
  /** Number of classes to return per query, from 1 to classCount. */
  k: number
  /** Arrays to write the result to, `[rows, k]` each. Default: new arrays. */
  out?: TopK
}

/** Arguments of {@link cosineTopK} for classes in memory. */
export interface CosineTopKArguments extends ScoreArguments, ClassMatrix, TopKArguments {}

/** Arguments of {@link cosineTopK} for classes in a file, which determines `classCount` and `dim`. */
export interface MatrixTopKArguments extends Omit<ScoreArguments, 'rows' | 'dim'>, TopKArguments {
  /** The classes, opened by {@link openMatrix}. */
  classes: Matrix
  /** Number of queries. Default: as many as `queries` contains. */
  rows?: number
  /** Aborts the search; the promise then rejects with the signal's reason. */
  signal?: AbortSignal
}

/** The best classes of each query, best first. Equal scores are ordered by index, and NaN counts as largest. */
export interface TopK {
  /** `[rows, k]`: indices of the classes. */
  index: Int32Array
  /** `[rows, k]`: the scores of those classes; probabilities of the softmax are over all classes. */
  value: Float32Array
}

/**
 * Scores every class for every query: the softmax over the classes of logitScale · cosine(query, class) + logitBias, or the
 * sigmoid of each, which scores every class independently (SigLIP: Zhai et al. 2023), or the logits, or the cosines,
 * which are always from -1 to 1. Both sides are normalized internally (by a norm of at least 1e-12). Radford et al. 2021,
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
  const out = output('out', a.out, shape, inputsOf(scores))
  await run('cosineSoftmax', { ...scores, out })
  return out
}

/**
 * Returns the k best classes of every query, with the scores of {@link cosineSoftmax}. The class matrix is read once, and the
 * scores of all classes are never stored (online softmax: Milakov and Gimelshein 2018). `classes` may be a {@link Matrix}
 * from openMatrix, in a file of any size, with bit-identical results. Rejects with ERR_CLIP_CHECKPOINT if the file has been
 * truncated, and with ERR_CLIP_DISPOSED if it was closed.
 *
 * @returns index and value, [rows, k] each
 */
export async function cosineTopK(a: CosineTopKArguments | MatrixTopKArguments): Promise<TopK> {
  a = object(a)
  if (isMatrix(a.classes)) return fileTopK(a as MatrixTopKArguments, a.classes)
  const scores = scoreArguments(a as CosineTopKArguments)
  const k = count('k', a.k, scores.classCount)
  const out = topKOutput(a.out, scores.rows, k, inputsOf(scores))
  await run('cosineTopK', { ...scores, k, ...out })
  return out
}

async function fileTopK(a: MatrixTopKArguments, matrix: Matrix): Promise<TopK> {
  const signal = checkSignal(a.signal)
  const held = isFloat32Array(a.queries) ? Math.max(1, Math.ceil(a.queries.length / matrix.dim)) : 1
  const rows = count('rows', a.rows ?? held)
  const shape: Shape = [
    [rows, 'rows'],
    [matrix.dim, ''],
  ]
  const queries = floats('queries', a.queries, shape)
  const k = count('k', a.k, matrix.rows)
  const out = topKOutput(a.out, rows, k, { queries })
  await topKOfMatrix(matrix, { queries, rows, k, ...scoring(a), ...options(a), ...out }, signal)
  return out
}

function topKOutput(
  given: TopK | undefined,
  rows: number,
  k: number,
  inputs: Record<string, ArrayBufferView | undefined>,
): TopK {
  const shape: Shape = [
    [rows, 'rows'],
    [k, ''],
  ]
  if (given !== undefined && (typeof given !== 'object' || given === null))
    throw argumentError('out', 'be { index, value }', given)
  const value = output('out.value', given?.value, shape, inputs)
  if (given?.index === undefined) return { index: allocate(Int32Array, 'out.index', rows, k), value }
  const { index } = given
  if (!isInt32Array(index)) throw argumentError('out.index', 'be an Int32Array', index)
  sized('out.index', index, shape, 'integers')
  apart('out.index', index, { ...inputs, 'out.value': value })
  return { index, value }
}

function scoring(a: Pick<ScoreArguments, 'logitScale' | 'logitBias' | 'as'>) {
  return {
    logitScale: number('logitScale', a.logitScale ?? 100),
    logitBias: number('logitBias', a.logitBias ?? 0),
    as: word('as', a.as ?? 'probability', ['probability', 'sigmoid', 'logit', 'cosine']),
  }
}

const inputsOf = (scores: ReturnType<typeof scoreArguments>) => ({
  queries: scores.queries,
  classes: scores.classes,
  classScales: scores.classScales,
})

function scoreArguments(a: Omit<CosineSoftmaxArguments, 'out'>) {
  a = object(a)
  const rows = count('rows', a.rows)
  const classCount = count('classCount', a.classCount)
  const dim = count('dim', a.dim)
  const queries = floats('queries', a.queries, [
    [rows, 'rows'],
    [dim, ''],
  ])
  const shape: Shape = [
    [classCount, 'classes'],
    [dim, ''],
  ]
  const { array: classes, dtype } = numbers('classes', a.classes, shape, rowDtypes)
  if (a.classScales !== undefined && dtype !== 'int8')
    throw argumentError('classScales', 'be omitted unless the classes are an Int8Array', a.classScales)
  const classScales =
    a.classScales === undefined ? undefined : floats('classScales', a.classScales, [[classCount, 'classes']])
  return { queries, classes, dtype, classScales, rows, classCount, dim, ...scoring(a), ...options(a) }
}
