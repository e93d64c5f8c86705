/** Everything that counts as a picture, and how it becomes encoded bytes, checked pixels or checked planes. */

import type { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { argumentError, ClipError } from '../errors.js'
import type { NativeImage } from './pixels.js'
import { IMAGE_FILE_BYTES, type Origin, readBlob, readDataUrl, readPath, readStream } from './source.js'

/** Pixels in memory: rows without padding, interleaved channels, sRGB, straight alpha. */
export interface RawPixels {
  /** height * width * channels values, 0 to 255. Not to be changed before the call has settled. */
  data: Uint8Array | Uint8ClampedArray
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA. */
  channels: 1 | 2 | 3 | 4
}

/** What `clip.preprocess` returns: `shape[0]` pictures that need no more preparation. */
export interface Preprocessed {
  /** n * 3 * size * size normalised values, channel planes. Not to be changed before the call has settled. */
  data: Float32Array
  /** [n, 3, size, size] of the model that will read it. */
  shape: readonly number[]
}

/** The part of a `sharp` instance that is used: its pipeline is run as it is, to raw pixels. */
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
 * A picture: path, file: or data: URL, the bytes of a file (JPEG, PNG, WebP, GIF, TIFF, AVIF, SVG), a Blob, a
 * readable stream of such bytes (node or web), a sharp instance, raw pixels, or what `clip.preprocess` returned.
 * Files, Blobs and streams may have at most 256 MB. http(s) URLs are refused: fetch them first, under your own rules.
 */
export type ImageInput =
  | string
  | URL
  | Uint8Array
  | ArrayBuffer
  | Blob
  | Readable
  | ReadableStream<Uint8Array>
  | SharpLike
  | RawPixels
  | Preprocessed

export type Opened =
  | { kind: 'encoded'; bytes: Uint8Array }
  | { kind: 'sharp'; sharp: SharpLike }
  | { kind: 'ready'; images: NativeImage[] }

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null
const has = (value: Record<string, unknown>, ...methods: string[]) =>
  methods.every(method => typeof value[method] === 'function')

export const isSharp = (value: unknown): value is SharpLike =>
  isObject(value) && has(value, 'clone', 'metadata', 'toColourspace', 'raw', 'toBuffer')

/** One picture that is given as one, as against an array or iterable of pictures. */
export function isOneImage(value: unknown): value is ImageInput {
  if (typeof value === 'string') return true
  if (!isObject(value) || Array.isArray(value)) return false
  if (value instanceof URL || value instanceof Uint8Array || value instanceof ArrayBuffer) return true
  return (
    value instanceof Blob || isSharp(value) || isStream(value) || ('data' in value && !has(value, 'next'))
  )
}

function isStream(value: Record<string, unknown>): boolean {
  return has(value, 'pipe', 'read') || has(value, 'getReader')
}

/** `image` or `images[3]`, and the file's name when there is one. */
export function origin(input: unknown, index?: number): Origin {
  const field = index === undefined ? 'image' : `images[${index}]`
  const named = typeof input === 'string' || input instanceof URL ? String(input) : undefined
  return { field, index, file: named?.startsWith('data:') ? undefined : named }
}

/**
 * Reads what has to be read and checks what can be checked. Decodes nothing.
 * Throws TypeError / RangeError for what is no ImageInput, ClipError ERR_CLIP_IMAGE for what can't be read.
 */
export async function openInput(
  input: ImageInput,
  from: Origin,
  maxPixels: number,
  signal?: AbortSignal,
): Promise<Opened> {
  signal?.throwIfAborted()
  if (typeof input === 'string') {
    const scheme = /^(https?|file|data):/i.exec(input)?.[1].toLowerCase()
    if (scheme) return { kind: 'encoded', bytes: await readUrl(toUrl(input, from), from, signal) }
    return { kind: 'encoded', bytes: await readPath(input, from, signal) }
  }
  if (input instanceof URL) return { kind: 'encoded', bytes: await readUrl(input, from, signal) }
  if (input instanceof ArrayBuffer) {
    checkAttached(input, from.field)
    return { kind: 'encoded', bytes: notEmpty(new Uint8Array(input), from) }
  }
  if (input instanceof Uint8Array) {
    checkAttached(input.buffer, from.field)
    return { kind: 'encoded', bytes: notEmpty(input, from) }
  }
  if (input instanceof Blob) return { kind: 'encoded', bytes: await readBlob(input, from, signal) }
  if (isSharp(input)) return { kind: 'sharp', sharp: input }
  if (isObject(input)) {
    if (isStream(input)) return { kind: 'encoded', bytes: await readStream(input as never, from, signal) }
    if (input.data instanceof Float32Array)
      return { kind: 'ready', images: planes(input as Partial<Preprocessed>, from.field) }
    if ('data' in input)
      return { kind: 'ready', images: [rawPixels(input as Partial<RawPixels>, from, maxPixels)] }
  }
  throw argumentError(
    from.field,
    'be a path, URL, bytes, Blob, stream, sharp instance, raw pixels or preprocessed picture',
    input,
  )
}

function toUrl(text: string, from: Origin): URL {
  try {
    return new URL(text)
  } catch {
    throw argumentError(from.field, 'be a valid URL', text)
  }
}

async function readUrl(url: URL, from: Origin, signal?: AbortSignal): Promise<Uint8Array> {
  if (url.protocol === 'file:') return readPath(url, from, signal)
  if (url.protocol === 'data:') return readDataUrl(url, from)
  throw argumentError(
    from.field,
    'be a path, or a file: or data: URL (nothing is downloaded: fetch it first and pass the bytes, as in `new Uint8Array(await (await fetch(url)).arrayBuffer())`)',
    url.href,
  )
}

function notEmpty(bytes: Uint8Array, from: Origin): Uint8Array {
  if (bytes.length === 0)
    throw new ClipError('ERR_CLIP_IMAGE', `\`${from.field}\` is empty: 0 bytes`, {
      ...from,
      expected: 'the bytes of a picture',
      actual: '0 bytes',
    })
  if (bytes.length > IMAGE_FILE_BYTES)
    throw new ClipError(
      'ERR_CLIP_IMAGE',
      `\`${from.field}\` has ${bytes.length} bytes, more than the ${IMAGE_FILE_BYTES} that an encoded picture may have`,
      { ...from, expected: `at most ${IMAGE_FILE_BYTES} bytes`, actual: `${bytes.length} bytes` },
    )
  return bytes
}

/** A buffer that was transferred to another thread has no bytes any more, which is not the same as being empty. */
function checkAttached(buffer: ArrayBufferLike, field: string): void {
  try {
    new Uint8Array(buffer)
  } catch {
    throw argumentError(field, 'have its bytes', '=a detached ArrayBuffer (it was transferred)')
  }
}

function rawPixels(raw: Partial<RawPixels>, from: Origin, maxPixels: number): NativeImage {
  const { data, width, height, channels } = raw
  const { field } = from
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray))
    throw argumentError(`${field}.data`, 'be a Uint8Array or Uint8ClampedArray', data)
  for (const [name, value] of [
    ['width', width],
    ['height', height],
  ] as const) {
    if (typeof value !== 'number') throw argumentError(`${field}.${name}`, 'be a number of pixels', value)
    if (!Number.isSafeInteger(value) || value < 1)
      throw argumentError(`${field}.${name}`, 'be a positive whole number of pixels', value, 'range')
  }
  const mode = channels && MODES[channels]
  if (!mode) throw argumentError(`${field}.channels`, 'be 1, 2, 3 or 4', channels, 'range')
  const [w, h] = [width as number, height as number]
  checkPixels(w, h, maxPixels, from)
  checkAttached(data.buffer, `${field}.data`)
  const bytes = w * h * (channels as number)
  if (data.length !== bytes)
    throw argumentError(
      `${field}.data`,
      `have ${bytes} bytes (${w} x ${h} x ${channels})`,
      `=${data.length}`,
      'range',
    )
  return { data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength), width: w, height: h, mode }
}
const MODES = { 1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA' } as const

function planes(given: Partial<Preprocessed>, field: string): NativeImage[] {
  const data = given.data as Float32Array
  const shape = given.shape
  checkAttached(data.buffer, `${field}.data`)
  if (!Array.isArray(shape) || shape.length !== 4 || shape[1] !== 3 || shape[2] !== shape[3])
    throw argumentError(
      `${field}.shape`,
      'be [n, 3, size, size]',
      Array.isArray(shape) ? `=[${shape}]` : shape,
    )
  const [n, , size] = shape as number[]
  if (!Number.isSafeInteger(n) || n < 0 || !Number.isSafeInteger(size) || size < 1)
    throw argumentError(`${field}.shape`, 'have whole, positive numbers', `=[${shape}]`, 'range')
  const one = 3 * size * size
  if (data.length !== n * one)
    throw argumentError(
      `${field}.data`,
      `have ${n * one} values (${shape.join(' x ')})`,
      `=${data.length}`,
      'range',
    )
  return Array.from({ length: n }, (_, i) => ({ planes: data.subarray(i * one, (i + 1) * one) }))
}

/** ERR_CLIP_IMAGE when width x height is above `maxPixels`. */
export function checkPixels(width: number, height: number, maxPixels: number, from: Origin): void {
  if (width * height <= maxPixels) return
  throw new ClipError(
    'ERR_CLIP_IMAGE',
    `${from.file ?? `\`${from.field}\``} has ${width} x ${height} pixels, more than \`maxPixels\` (${maxPixels}) allows`,
    { ...from, expected: `at most ${maxPixels} pixels`, actual: `${width} x ${height} pixels` },
  )
}
