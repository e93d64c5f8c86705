import { argumentError, type ClipError } from './errors.js'

/**
 * A matrix of float32 results, row-major in one block of memory. Rows are views, not copies.
 *
 * `shape` is [n, d], or [n, tokens, width] for `output: 'tokens'`.
 */
export class Embeddings<Shape extends readonly number[] = readonly [n: number, d: number]>
  implements Iterable<Float32Array>
{
  /** All rows, one after the other: float32. */
  readonly data: Float32Array
  /** [n, d] or [n, tokens, width]. */
  readonly shape: Shape
  /** With `errors: 'collect'`: for each row its error, or null. The data of failed rows is NaN. */
  readonly errors?: (ClipError | null)[]

  /** `data` has as many values as the product of `shape`; it is kept, not copied. */
  constructor(data: Float32Array, shape: Shape, errors?: (ClipError | null)[]) {
    this.data = data
    this.shape = shape
    if (errors) this.errors = errors
  }

  /** Row i as a view into `data`, from 0. Throws RangeError past the end. */
  row(i: number): Float32Array {
    const n = this.shape[0]!
    if (!Number.isInteger(i) || i < 0 || i >= n)
      throw argumentError('i', `be an integer from 0 to ${n - 1}`, i, 'range')
    const length = this.data.length / n
    return this.data.subarray(i * length, (i + 1) * length)
  }

  /** Every row in turn, as views into `data`. */
  *[Symbol.iterator](): IterableIterator<Float32Array> {
    for (let i = 0; i < this.shape[0]!; i++) yield this.row(i)
  }
}

/** What {@link Embeddings} an `output` gives. */
export type EmbeddingsOf<O extends 'embedding' | 'pooled' | 'tokens'> = O extends 'tokens'
  ? Embeddings<readonly [n: number, tokens: number, width: number]>
  : Embeddings
