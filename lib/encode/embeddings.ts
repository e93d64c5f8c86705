import { argumentError, type ClipError, describeShape, got } from '../base/errors.js'
import { fields } from '../base/options.js'
import { isArray, isFloat32Array, isObject } from '../base/values.js'

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

  /** Iterates over the rows, as views into `data`. */
  *[Symbol.iterator](): IterableIterator<Float32Array> {
    for (let i = 0; i < this.shape[0]!; i++) yield this.row(i)
  }
}

/** The type of the {@link Embeddings} for each `output`. */
export type EmbeddingsOf<O extends 'embedding' | 'pooled' | 'tokens'> = O extends 'tokens'
  ? Embeddings<readonly [n: number, tokens: number, width: number]>
  : Embeddings

/**
 * Whether a value is meant as embeddings: an {@link Embeddings} of this or another realm, or the plain object that it becomes
 * when it is sent between threads. The result of `clip.preprocess` has four dimensions, so it is not one.
 */
export function isEmbeddings(value: unknown): value is Embeddings {
  if (!isObject(value)) return false
  try {
    if (value instanceof Embeddings) return true
    return isFloat32Array(value.data) && isArray(value.shape) && value.shape.length !== 4
  } catch {
    return false // a Proxy that can't be inspected
  }
}

/**
 * Checks a caller's embeddings: their shape must be (n, width), or (1, width) if `rows` is 1, and match the number of values.
 * If `width` is undefined, any width is accepted. Returns a copy of the object, but not of its data.
 */
export function checkEmbeddings(
  field: string,
  value: Embeddings,
  expected: string,
  width: number | undefined,
  rows?: number,
): Embeddings {
  const { data, shape } = fields(field, value, ['data', 'shape'])
  if (!isFloat32Array(data)) throw argumentError(`${field}.data`, 'be a Float32Array', data)
  const [n, d] = isArray(shape) && shape.length === 2 ? (shape as readonly [number, number]) : [-1, -1]
  const fits = [n, d].every(size => Number.isSafeInteger(size) && size >= 0)
  if (!fits || (width !== undefined && d !== width) || (rows !== undefined && n !== rows))
    throw argumentError(field, expected, got(`shape ${describeShape(shape)}`))
  if (data.length !== n * d)
    throw argumentError(`${field}.data`, `have ${n * d} values (${n} x ${d})`, got(data.length), 'range')
  return new Embeddings(data, [n, d] as const)
}
