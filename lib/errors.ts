/** Every code a {@link ClipError} (or a TypeError / RangeError about an argument) of this package can carry. */
export type ClipErrorCode =
  /** A caller's mistake: a wrong type, shape, range or option (TypeError or RangeError, not ClipError). */
  | 'ERR_CLIP_INPUT'
  /** A picture that can't be read: no picture, too large, truncated, unreadable path. */
  | 'ERR_CLIP_IMAGE'
  /** A text with more tokens than the model's context; pass `truncate: true` to cut it. */
  | 'ERR_CLIP_TEXT_TOO_LONG'
  /** A weight or vocabulary file that can't be used: damaged, missing tensors, wrong shapes or values. */
  | 'ERR_CLIP_CHECKPOINT'
  /** A configuration that is missing, contradicts the weights, or asks for what is not implemented. */
  | 'ERR_CLIP_CONFIG'
  /** A device or backend that this machine or build does not have, and why. */
  | 'ERR_CLIP_BACKEND'
  /** A dtype that the device does not run; the message lists those it does. */
  | 'ERR_CLIP_DTYPE'
  /** A classifier, store or adapter that was made with another model. */
  | 'ERR_CLIP_MODEL_MISMATCH'
  /** A download that failed, or a lock on the cache folder that could not be had. */
  | 'ERR_CLIP_DOWNLOAD'
  /** A downloaded file that is not the one it should be. */
  | 'ERR_CLIP_CHECKSUM'
  /** A model that is not here while `offline` forbids to fetch it. */
  | 'ERR_CLIP_OFFLINE'
  /** The model was disposed before or while the call waited. */
  | 'ERR_CLIP_DISPOSED'
  /** More than `maxQueue` calls are waiting; try again later. */
  | 'ERR_CLIP_BUSY'
  /** Memory that the system did not give. */
  | 'ERR_CLIP_MEMORY'
  /** A failure of a GPU, its driver or its kernels. */
  | 'ERR_CLIP_CUDA'
  /** A fault of ours; please report it. */
  | 'ERR_CLIP_INTERNAL'

/** What a {@link ClipError} tells beyond its message. */
export interface ClipErrorDetails {
  /** The file that is at fault, as it was given. */
  file?: string
  /** The field, tensor or option that is at fault. */
  field?: string
  /** What it should be. */
  expected?: string
  /** What it is. */
  actual?: string
  /** Which element of the caller's array, from 0. */
  index?: number
  /** The error below this one. */
  cause?: unknown
}

/** The one error class of this package. Aborts are not ClipErrors: they reject with `signal.reason`. */
export class ClipError extends Error {
  /** Which kind of failure: the same in every version. */
  readonly code: ClipErrorCode
  /** The file that is at fault, as it was given. */
  readonly file?: string
  /** The field, tensor or option that is at fault. */
  readonly field?: string
  /** What it should be. */
  readonly expected?: string
  /** What it is. */
  readonly actual?: string
  /** Which element of the caller's array, from 0. */
  readonly index?: number

  /** Made by this package; a program only needs it for tests of its own. */
  constructor(code: ClipErrorCode, message: string, details: ClipErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'ClipError'
    this.code = code
    if (details.file !== undefined) this.file = details.file
    if (details.field !== undefined) this.field = details.field
    if (details.expected !== undefined) this.expected = details.expected
    if (details.actual !== undefined) this.actual = details.actual
    if (details.index !== undefined) this.index = details.index
  }
}

/** What a caller passed, in a few words, for the end of a sentence: `"abc"`, `3`, `an array of 4`, `null`. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'string')
    return value.length > 60 ? `${JSON.stringify(value.slice(0, 57))}...` : JSON.stringify(value)
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return String(value)
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (ArrayBuffer.isView(value))
    return `a ${value.constructor.name} of ${(value as Uint8Array).length ?? value.byteLength}`
  const name = (value as object).constructor?.name
  return name && name !== 'Object' ? `a ${name}` : 'an object'
}

/**
 * A caller's mistake, in the one sentence shape: Expected `images[2].data` to have 150528 bytes (224 x 224 x 3),
 * got 1000. A value of the right type but out of range is a RangeError, anything else a TypeError.
 */
export function argumentError(
  field: string,
  expected: string,
  actual: unknown,
  kind: 'type' | 'range' = 'type',
): TypeError & { code: 'ERR_CLIP_INPUT'; field: string } {
  const message = `Expected \`${field}\` to ${expected}, got ${typeof actual === 'string' && actual.startsWith('=') ? actual.slice(1) : describe(actual)}`
  const error = kind === 'range' ? new RangeError(message) : new TypeError(message)
  return Object.assign(error, { code: 'ERR_CLIP_INPUT' as const, field })
}
