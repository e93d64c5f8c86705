/** The inputs that are accepted as images, and their conversion to encoded bytes, checked pixels or checked planes. */

import type { Readable } from 'node:stream'
import { untilAborted } from '../base/abort.js'
import { argumentError, describeShape, got } from '../base/errors.js'
import { fields } from '../base/options.js'
import {
  has,
  holds,
  isArray,
  isArrayBuffer,
  isBlob,
  isFloat32Array,
  isObject,
  isUint8Array,
  isUint8ClampedArray,
  isUrl,
} from '../base/values.js'
import { looksLikeBase64 } from './base64.js'
import type { Semaphore } from './gate.js'
import { isCopy, type NativeImage } from './pixels.js'
import {
  type ByteStream,
  IMAGE_FILE_BYTES,
  type ImageOrigin,
  imageError,
  readBlob,
  readDataUrl,
  readPath,
  readStream,
  tooSlow,
} from './source.js'

/** Raw pixels in memory: rows without padding, interleaved channels, sRGB, straight alpha. */
export interface RawPixels {
  /** height * width * channels values, 0 to 255. Do not change them until the promise settles. */
  data: Uint8Array | Uint8ClampedArray
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. */
  channels: 1 | 2 | 3 | 4
}

/** Result of `clip.preprocess`: `shape[0]` images, ready for the image tower. */
export interface Preprocessed {
  /** n * 3 * size * size normalized values, in planes. Do not change them until the promise settles. */
  data: Float32Array
  /** [n, 3, size, size], with the size of the model that will encode it. */
  shape: readonly number[]
}

/** The part of a `sharp` instance that is used. Its pipeline runs unchanged, to raw pixels. */
export interface SharpLike {
  /** As sharp's. */
  clone(): SharpLike
  /** As sharp's. */
  metadata(): Promise<{ width?: number; height?: number }>
  /** As sharp's. */
  toColourspace(space: string): SharpLike
  /** As sharp's. */
  raw(options?: { depth?: string }): SharpLike
  /** As sharp's. */
  toBuffer(options: { resolveWithObject: true }): Promise<{
    data: Buffer
    info: { width: number; height: number; channels: number }
  }>
}

/**
 * An image: a path, a file: or data: URL, the bytes of a file (JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF; SVG with
 * `svg: true`), a Blob, a stream of such bytes (a Node stream, a web stream such as `(await fetch(url)).body`, or any async
 * iterable of bytes), a sharp instance, raw pixels, or the result of `clip.preprocess`. Files, Blobs and streams may have
 * at most 256 MB. http(s) URLs are rejected: fetch them first, under your own rules.
 */
export type ImageInput =
  | string
  | URL
  | Uint8Array
  | ArrayBuffer
  | Blob
  | Readable
  | ByteStream
  | AsyncIterable<Uint8Array>
  | SharpLike
  | RawPixels
  | Preprocessed

export type Opened =
  /**
   * `owned`: read here, so nothing else uses the bytes. Others have `length` bytes unless the caller transfers or resizes them.
   * `close` releases the place in which they were read.
   */
  | { kind: 'encoded'; bytes: Uint8Array; length: number; owned: boolean; close(): void }
  | { kind: 'sharp'; sharp: SharpLike }
  | { kind: 'ready'; images: NativeImage[] }

export const isSharp = (value: unknown): value is SharpLike =>
  has(value, 'clone', 'metadata', 'toColourspace', 'raw', 'toBuffer')

/** Whether the input is a single image, not an array or iterable of images. */
export function isOneImage(value: unknown): value is ImageInput {
  if (typeof value === 'string') return true
  if (!isObject(value) || isArray(value)) return false
  if (isUrl(value) || isUint8Array(value) || isUint8ClampedArray(value) || isArrayBuffer(value)) return true
  return isBlob(value) || isSharp(value) || isStream(value) || (holds(value, 'data') && !has(value, 'next'))
}

function isStream(value: object): boolean {
  return has(value, 'pipe', 'read') || has(value, 'getReader') || holds(value, Symbol.asyncIterator)
}

/** `image` or `images[3]`, and the file name if there is one. */
export function origin(input: unknown, index?: number): ImageOrigin {
  const field = index === undefined ? 'image' : `images[${index}]`
  const named = typeof input === 'string' ? input : isUrl(input) ? input.href : undefined
  const isPath = named !== undefined && !/^\s*data:/i.test(named) && looksLikeBase64(named) === undefined
  return { field, index, file: isPath ? named : undefined }
}

export interface OpenOptions {
  maxPixels: number
  /** Time limit in milliseconds for a file or a sharp instance, and for the wait between two chunks of a stream. */
  decodeTimeout: number
  signal?: AbortSignal
  /** Limits the number of files and Blobs that are read at a time. */
  opening?: Semaphore
}

/**
 * Reads the data of an input and checks it, without decoding it.
 * Throws a TypeError or RangeError if it is not an ImageInput, a ClipError ERR_CLIP_IMAGE if it can't be read.
 */
export async function openInput(input: ImageInput, from: ImageOrigin, options: OpenOptions): Promise<Opened> {
  const { maxPixels, decodeTimeout, signal, opening } = options
  signal?.throwIfAborted()
  const silent = tooSlow(decodeTimeout, from, 'was not read')
  const encoded = (bytes: Uint8Array, owned: boolean, close = () => {}): Opened => ({
    kind: 'encoded',
    bytes,
    length: bytes.length,
    owned,
    close,
  })
  const read = async (work: () => Promise<Uint8Array>) => {
    const close = await opening?.enter(signal)
    try {
      return encoded(await untilAborted(work(), signal, silent), true, close)
    } catch (error) {
      close?.()
      throw error
    }
  }
  if (typeof input === 'string' || isUrl(input)) {
    const scheme = isUrl(input) ? input.protocol : /^(https?|file|data):/i.exec(input)?.[0]
    if (scheme === undefined) return read(() => readPath(input, from, signal))
    const url = isUrl(input) ? input : toUrl(input, from)
    if (url.protocol === 'file:') return read(() => readPath(url, from, signal))
    return encoded(readUrl(url, from), true)
  }
  if (isArrayBuffer(input)) {
    checkAttached(input, from.field)
    return encoded(notEmpty(new Uint8Array(input), from), false)
  }
  if (isUint8Array(input) || isUint8ClampedArray(input)) {
    checkAttached(input.buffer, from.field)
    // sharp accepts only bytes of its own realm.
    const { buffer, byteOffset, byteLength } = input
    return encoded(notEmpty(new Uint8Array(buffer, byteOffset, byteLength), from), false)
  }
  if (isSharp(input)) return { kind: 'sharp', sharp: input }
  if (isObject(input)) {
    if (isBlob(input)) return read(() => readBlob(input, from, signal))
    if (isStream(input)) {
      const silence = tooSlow(decodeTimeout, from, 'sent nothing')
      return encoded(await readStream(input as never, from, silence, signal), true)
    }
    const raw: Record<string, unknown> = fields(from.field, input as Record<string, unknown>, rawNames)
    if (isFloat32Array(raw.data))
      return { kind: 'ready', images: planes(raw as Partial<Preprocessed>, from.field) }
    if (holds(input, 'data'))
      return { kind: 'ready', images: [rawPixels(raw as Partial<RawPixels>, from, maxPixels)] }
  }
  throw argumentError(
    from.field,
    'be a path, URL, bytes, Blob, stream, sharp instance, raw pixels or preprocessed image',
    input,
  )
}

function toUrl(text: string, from: ImageOrigin): URL {
  try {
    return new URL(text)
  } catch {
    throw argumentError(from.field, 'be a valid URL', text)
  }
}

function readUrl(url: URL, from: ImageOrigin): Uint8Array {
  if (url.protocol === 'data:') return readDataUrl(url, from)
  throw argumentError(
    from.field,
    'be a path, or a file: or data: URL (nothing is downloaded: fetch it first and pass the bytes, as in `new Uint8Array(await (await fetch(url)).arrayBuffer())`)',
    url.href,
  )
}

function notEmpty(bytes: Uint8Array, from: ImageOrigin): Uint8Array {
  if (bytes.length === 0)
    throw imageError('is empty: 0 bytes', from, { expected: 'the bytes of an image', actual: '0 bytes' })
  if (bytes.length > IMAGE_FILE_BYTES)
    throw imageError(
      `has ${bytes.length} bytes, more than the ${IMAGE_FILE_BYTES} that an encoded image may have`,
      from,
      { expected: `at most ${IMAGE_FILE_BYTES} bytes`, actual: `${bytes.length} bytes` },
    )
  return bytes
}

/**
 * Throws if the caller's bytes are gone: encoded bytes are read over several turns of the event loop, and the caller may
 * transfer or resize their buffer in between.
 */
export function checkStillThere(bytes: Uint8Array, length: number, field: string): void {
  if (bytes.length === length) return
  throw argumentError(
    field,
    'keep its bytes until the call settles',
    got('an ArrayBuffer that was transferred or resized'),
  )
}

/** A transferred buffer has no bytes any more, which is different from an empty one. */
function checkAttached(buffer: ArrayBufferLike, field: string): void {
  try {
    new Uint8Array(buffer)
  } catch {
    throw argumentError(field, 'have its bytes', got('a detached ArrayBuffer (it was transferred)'))
  }
}

function rawPixels(raw: Partial<RawPixels>, from: ImageOrigin, maxPixels: number): NativeImage {
  const { data, width, height, channels } = raw
  const { field } = from
  if (!(isUint8Array(data) || isUint8ClampedArray(data)))
    throw argumentError(`${field}.data`, 'be a Uint8Array or Uint8ClampedArray', data)
  for (const [name, value] of [
    ['width', width],
    ['height', height],
  ] as const) {
    if (typeof value !== 'number') throw argumentError(`${field}.${name}`, 'be a number of pixels', value)
    if (!Number.isSafeInteger(value) || value < 1)
      throw argumentError(`${field}.${name}`, 'be a positive whole number of pixels', value, 'range')
  }
  if (typeof channels !== 'number') throw argumentError(`${field}.channels`, 'be 1, 2, 3 or 4', channels)
  const mode = MODES[channels]
  if (!mode) throw argumentError(`${field}.channels`, 'be 1, 2, 3 or 4', channels, 'range')
  const [w, h] = [width as number, height as number]
  checkPixels(w, h, maxPixels, from)
  checkAttached(data.buffer, `${field}.data`)
  const bytes = w * h * (channels as number)
  if (data.length !== bytes)
    throw argumentError(
      `${field}.data`,
      `have ${bytes} bytes (${w} x ${h} x ${channels})`,
      got(data.length),
      'range',
    )
  const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return { data: pixels, width: w, height: h, mode, ...(isCopy(pixels) ? { ours: true } : {}) }
}
/** The values of raw pixels and preprocessed images. */
const rawNames = ['data', 'width', 'height', 'channels', 'shape']
const MODES = { 1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA' } as const

function planes(given: Partial<Preprocessed>, field: string): NativeImage[] {
  const data = given.data as Float32Array
  const shape = given.shape
  checkAttached(data.buffer, `${field}.data`)
  if (!isArray(shape) || shape.length !== 4 || shape[1] !== 3 || shape[2] !== shape[3])
    throw argumentError(
      `${field}.shape`,
      'be [n, 3, size, size]',
      isArray(shape) ? got(describeShape(shape)) : shape,
    )
  const [n, , size] = shape as number[]
  if (!Number.isSafeInteger(n) || n < 0 || !Number.isSafeInteger(size) || size < 1)
    throw argumentError(`${field}.shape`, 'have whole, positive numbers', got(describeShape(shape)), 'range')
  const one = 3 * size * size
  if (data.length !== n * one)
    throw argumentError(
      `${field}.data`,
      `have ${n * one} values (${shape.join(' x ')})`,
      got(data.length),
      'range',
    )
  return Array.from({ length: n }, (_, i) => ({ planes: data.subarray(i * one, (i + 1) * one) }))
}

/** Throws ERR_CLIP_IMAGE if width x height exceeds `maxPixels`. */
export function checkPixels(width: number, height: number, maxPixels: number, from: ImageOrigin): void {
  if (width * height <= maxPixels) return
  throw imageError(`has ${width} x ${height} pixels, more than \`maxPixels\` (${maxPixels}) allows`, from, {
    expected: `at most ${maxPixels} pixels`,
    actual: `${width} x ${height} pixels`,
  })
}
