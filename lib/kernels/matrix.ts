/** Matrices in files, of a million vectors and more: read in blocks, never mapped, never in memory as a whole. */

import { rowDtypes } from '../base/dtypes.js'
import { argumentError, ClipError, got } from '../base/errors.js'
import { checkOptions, pathOf } from '../base/options.js'
import { binding, fromNative } from '../native/addon.js'
import { cancellable } from '../native/jobs.js'
import type { NativeMatrix } from '../native/surface.js'
import { count, word } from './arguments.js'

/** Location and layout of a matrix in a file. */
export interface MatrixOptions {
  /** Offset of the first row in bytes; default 0. */
  offset?: number
  /** Number of rows, from 1 to 2147483647. */
  rows: number
  /** Dimension of a row. */
  dim: number
  /**
   * Number format, little-endian; default 'float32'. int8 rows need no scales, because a positive scale per row cancels out
   * of a cosine.
   */
  dtype?: 'float32' | 'bfloat16' | 'int8'
}

interface Opened {
  native: NativeMatrix
  running: Set<Promise<unknown>>
  closed: Promise<void> | undefined
}

const opened = new WeakMap<Matrix, Opened>()
const door = Symbol('openMatrix')

/** An open file of rows for cosineTopK, as {@link openMatrix} returns it. */
export class Matrix {
  /** The path of the file. */
  readonly file: string
  /** Number of rows. */
  readonly rows: number
  /** Dimension of a row. */
  readonly dim: number
  /** Number format. */
  readonly dtype: 'float32' | 'bfloat16' | 'int8'

  /** @internal */
  constructor(key: symbol, file: string, options: Required<MatrixOptions>, native: NativeMatrix) {
    if (key !== door) throw argumentError('Matrix', 'be made by openMatrix', got('`new Matrix`'))
    this.file = file
    this.rows = options.rows
    this.dim = options.dim
    this.dtype = options.dtype
    opened.set(this, { native, running: new Set(), closed: undefined })
  }

  /** Closes the file. Running calls finish, later ones reject with ERR_CLIP_DISPOSED; resolves once it is closed. Idempotent. */
  close(): Promise<void> {
    const self = opened.get(this)!
    self.closed ??= (async () => {
      self.native.close()
      await Promise.allSettled(self.running)
    })()
    return self.closed
  }

  /** `await using matrix = await openMatrix(file, options)` */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/**
 * Opens a matrix in a file for {@link cosineTopK}: `rows` x `dim` numbers from byte `offset` on, as in a .npy file, a
 * safetensors tensor or a raw dump. The file is read block by block during each call and stays open until `close()`.
 *
 * Rejects with ERR_CLIP_CHECKPOINT, naming file, field, expected and actual, if the file can't be opened, is not a regular
 * file or is too short; a call rejects with the same code if the file was truncated later.
 */
export async function openMatrix(file: string | URL, options: MatrixOptions): Promise<Matrix> {
  const path = pathOf('file', file)
  if (options === undefined) throw argumentError('options', 'be an object', options)
  const { offset = 0, ...given } = checkOptions(options, ['offset', 'rows', 'dim', 'dtype'])
  if (typeof offset !== 'number') throw argumentError('offset', 'be an integer', offset)
  if (!(Number.isSafeInteger(offset) && offset >= 0))
    throw argumentError('offset', 'be an integer from 0 to 9007199254740991', offset, 'range')
  const all = {
    offset,
    rows: count('rows', given.rows),
    dim: count('dim', given.dim),
    dtype: word('dtype', given.dtype ?? 'float32', rowDtypes),
  }
  const native = await fromNative(() => binding().openMatrix({ file: path, ...all }))
  return new Matrix(door, path, all, native)
}

/** Whether a value is a matrix of this package; reads none of its properties. */
export const isMatrix = (value: unknown): value is Matrix =>
  typeof value === 'object' && value !== null && opened.has(value as Matrix)

/** For cosineTopK, which has checked everything. */
export async function topKOfMatrix(
  matrix: Matrix,
  a: Omit<Parameters<NativeMatrix['topK']>[0], 'job'>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { native, running, closed } = opened.get(matrix)!
  signal?.throwIfAborted()
  if (closed) throw new ClipError('ERR_CLIP_DISPOSED', 'This matrix was closed', { file: matrix.file })
  const work = cancellable(
    signal,
    job => native.topK({ ...a, job }),
    job => native.cancel(job),
  )
  running.add(work)
  try {
    await work
  } finally {
    running.delete(work)
  }
}
