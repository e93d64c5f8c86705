import { types } from 'node:util'
import { printable, shorten, wordsFor } from './describe.js'
import { fromCaller } from './stack.js'

export { describe, describeShape, got, printable, quote, shorten } from './describe.js'

/** Every code a {@link ClipError} (or a TypeError / RangeError about an argument) of this package can carry. */
export type ClipErrorCode =
  /**
   * An invalid argument. A wrong type, shape or range is a TypeError or RangeError with this code; a problem that only the
   * file system reveals (no such store, a file that can't be written) is a ClipError with this code. {@link isClipError} is
   * true for both.
   */
  | 'ERR_CLIP_INPUT'
  /** An image that can't be read: not an image, too large, truncated, or an unreadable path. */
  | 'ERR_CLIP_IMAGE'
  /** A text with more tokens than the model's context; pass `truncate: true` to cut it. */
  | 'ERR_CLIP_TEXT_TOO_LONG'
  /** A weight or vocabulary file that can't be used: damaged, missing tensors, wrong shapes or values. */
  | 'ERR_CLIP_CHECKPOINT'
  /** A configuration that is missing, contradicts the weights, or needs something that is not implemented. */
  | 'ERR_CLIP_CONFIG'
  /** A device or backend that is not available on this machine or in this build; the message says why. */
  | 'ERR_CLIP_BACKEND'
  /** A dtype that the device does not support; the message lists those that it supports. */
  | 'ERR_CLIP_DTYPE'
  /** A classifier, store or adapter that was made with another model. */
  | 'ERR_CLIP_MODEL_MISMATCH'
  /** A download that failed, or a lock on the cache folder that could not be acquired. */
  | 'ERR_CLIP_DOWNLOAD'
  /** A downloaded file whose checksum is wrong. */
  | 'ERR_CLIP_CHECKSUM'
  /** A model that is not on this machine, while `offline` forbids downloading it. */
  | 'ERR_CLIP_OFFLINE'
  /** The model was disposed before the call, or while the call waited. */
  | 'ERR_CLIP_DISPOSED'
  /** More than `maxQueue` calls are waiting; try again later. */
  | 'ERR_CLIP_BUSY'
  /** The system is out of memory, threads or file descriptors: the same call may succeed later. */
  | 'ERR_CLIP_MEMORY'
  /** A failure of a GPU, its driver or its kernels. */
  | 'ERR_CLIP_CUDA'
  /** A bug of this package; please report it. */
  | 'ERR_CLIP_INTERNAL'

/** The fields of a {@link ClipError}. */
export interface ClipErrorDetails {
  /** The file that caused the error, as it was given; a path of more than 120 characters is shortened in the middle. */
  file?: string
  /** The field, tensor or option that caused the error. */
  field?: string
  /** The expected value. */
  expected?: string
  /** The actual value. */
  actual?: string
  /** Index of the element in the caller's array, from 0. */
  index?: number
  /** The error that caused this one. */
  cause?: unknown
}

/** A caller's text as it appears in errors. */
const shown = (text: string): string => shorten(printable(text))
/** A message of this package, made printable line by line. */
const lines = (message: string): string => message.split('\n').map(printable).join('\n')

/** The cause of an error of this package. Its message may repeat a path, which is then shortened and escaped as well. */
function shortCause(cause: unknown, values: readonly string[]): unknown {
  if (!types.isNativeError(cause)) return cause
  const { message, code, errno, syscall, path } = cause as NodeJS.ErrnoException
  const all = typeof path === 'string' && shown(path) !== path ? [path, ...values] : values
  const short = lines(all.reduce((text, one) => text.replaceAll(one, shown(one)), message))
  if (short === message && all.length === 0) return cause
  return Object.assign(new Error(short), { code, errno, syscall })
}

/**
 * The error class of this package for everything except invalid arguments, which are TypeErrors or RangeErrors; {@link
 * isClipError} recognises all of them. Aborts are not ClipErrors: they reject with `signal.reason`.
 */
export class ClipError extends Error {
  /** The kind of failure. Codes are the same in every version. */
  readonly code: ClipErrorCode
  /** The file that caused the error, as it was given; a path of more than 120 characters is shortened in the middle. */
  readonly file?: string
  /** The field, tensor or option that caused the error. */
  readonly field?: string
  /** The expected value. */
  readonly expected?: string
  /** The actual value. */
  readonly actual?: string
  /** Index of the element in the caller's array, from 0. */
  readonly index?: number

  /** This package creates these errors; a program needs the constructor only for its own tests. */
  constructor(code: ClipErrorCode, message: string, details: ClipErrorDetails = {}) {
    const { file, field, expected, actual, index, cause } = details
    // A text that is too long or has control characters may be part of the message too, so it is replaced there as well. Line
    // ends of the message itself are kept. `actual` is a phrase of this package around a short value.
    const values = [file, field].filter(text => text !== undefined && shown(text) !== text) as string[]
    const short = values.reduce((text, one) => text.replaceAll(one, shown(one)), message)
    super(lines(short), cause === undefined ? undefined : { cause: shortCause(cause, values) })
    this.name = 'ClipError'
    this.code = code
    if (file !== undefined) this.file = shorten(file)
    if (field !== undefined) this.field = shown(field)
    if (expected !== undefined) this.expected = printable(expected)
    if (actual !== undefined) this.actual = shorten(printable(actual), 400)
    if (index !== undefined) this.index = index
    fromCaller(this)
  }
}

/** A TypeError or RangeError for an invalid argument, with the properties that it has besides its message. */
export interface ClipArgumentError extends Error {
  /** The code of all errors for invalid arguments. */
  readonly code: 'ERR_CLIP_INPUT'
  /** The invalid argument or option: `images[2].data`. */
  readonly field?: string
}

/**
 * Whether an error comes from this package: a {@link ClipError}, or the TypeError or RangeError for an invalid argument. It
 * also recognises errors of another copy of the package or of another realm (jest, `node:vm`), for which `instanceof` fails.
 * It is false for an abort, which rejects with `signal.reason`.
 */
export function isClipError(error: unknown): error is ClipError | ClipArgumentError {
  if (!types.isNativeError(error) || types.isProxy(error)) return false
  const code: unknown = Object.getOwnPropertyDescriptor(error, 'code')?.value
  return typeof code === 'string' && code.startsWith('ERR_CLIP_')
}

/**
 * The error for an invalid argument. All of them have the same form: Expected `images[2].data` to have 150528 bytes (224 x
 * 224 x 3), got 1000. A value of the right type but out of range is a RangeError, anything else a TypeError. `actual` is the
 * value itself, which is described, or words for it: `got('none')`.
 */
export function argumentError(
  field: string,
  expected: string,
  actual: unknown,
  kind: 'type' | 'range' = 'type',
): TypeError & { code: 'ERR_CLIP_INPUT'; field: string } {
  const short = shown(field)
  const message = `Expected \`${short}\` to ${printable(expected)}, got ${wordsFor(actual)}`
  const error = kind === 'range' ? new RangeError(message) : new TypeError(message)
  return fromCaller(Object.assign(error, { code: 'ERR_CLIP_INPUT' as const, field: short }))
}
