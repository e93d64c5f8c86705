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

  /** Every row in turn, as views into `data`. */
  *[Symbol.iterator](): IterableIterator<Float32Array> {
    for (let i = 0; i < this.shape[0]!; i++) yield this.row(i)
  }
}

/** What {@link Embeddings} an `output` gives. */
export type EmbeddingsOf<O extends 'embedding' | 'pooled' | 'tokens'> = O extends 'tokens'
  ? Embeddings<readonly [n: number, tokens: number, width: number]>
  : Embeddings

/**
 * Whether a caller means embeddings: an {@link Embeddings} of this or another realm, or what is left of one that went
 * between threads. What `clip.preprocess` returns has four sizes, and is none.
 */
export function isEmbeddings(value: unknown): value is Embeddings {
  if (!isObject(value)) return false
  try {
    if (value instanceof Embeddings) return true
    return isFloat32Array(value.data) && isArray(value.shape) && value.shape.length !== 4
  } catch {
    return false // a Proxy that can't be looked at
  }
}

/**
 * A caller's embeddings, checked: (n, width) with as many values as that, or (1, width) with `rows` 1. `width` undefined
 * takes any. The result is a copy of the object, not of its data.
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
