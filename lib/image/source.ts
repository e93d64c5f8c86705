/** Reads the bytes of an encoded image from any source, without a JavaScript loop over them and without waiting for ever. */

import { types } from 'node:util'
import { onAbort, type TimeLimit, untilAborted } from '../base/abort.js'
import { argumentError, ClipError, got, isClipError } from '../base/errors.js'
import { pathOfUrl } from '../base/file-name.js'
import { type FileFault, RegularFile } from '../base/regular-file.js'
import { Slices } from '../base/slices.js'
import { looksLikeBase64 } from './base64.js'

/** Maximum size in bytes of a file, Blob, stream or buffer. */
export const IMAGE_FILE_BYTES = 256 * 1024 * 1024

/** The origin of an image, for messages: the argument of the call, the index, and the path as it was passed. */
export interface ImageOrigin {
  field: string
  index?: number
  file?: string
}

/** Maximum length of a caller's string in a message. */
const SHOWN = 120

/** Shortens a long name but keeps its end, which distinguishes files. */
const shown = (name: string) =>
  name.length <= SHOWN ? name : `${name.slice(0, SHOWN / 2 - 2)}...${name.slice(1 - SHOWN / 2)}`

/** The name of the image in messages: its file, or its place in the call. */
export const nameOf = (from: ImageOrigin) =>
  from.file === undefined ? `\`${from.field}\`` : shown(from.file)

export function imageError(
  message: string,
  from: ImageOrigin,
  more: { expected?: string; actual?: string; cause?: unknown } = {},
): ClipError {
  return new ClipError('ERR_CLIP_IMAGE', `${nameOf(from)} ${message}`, {
    ...from,
    ...more,
  })
}

function checkLength(bytes: number, from: ImageOrigin): void {
  if (bytes === 0)
    throw imageError('is empty: 0 bytes', from, { expected: 'the bytes of an image', actual: '0 bytes' })
  if (bytes > IMAGE_FILE_BYTES)
    throw imageError(`has more than the ${IMAGE_FILE_BYTES} bytes that an encoded image may have`, from, {
      expected: `at most ${IMAGE_FILE_BYTES} bytes`,
      actual: `${bytes} bytes`,
    })
}

/** The error for an image that was not read or decoded within the time limit. */
export const tooSlow = (ms: number, from: ImageOrigin, what: string): TimeLimit => ({
  ms,
  fault: () =>
    imageError(`${what} within \`decodeTimeout\` (${ms} ms)`, from, {
      expected: `an end within ${ms} ms`,
      actual: 'none',
    }),
})

/** Reads a regular file, but no more than its size at the start, even if it grows meanwhile. */
export async function readPath(
  path: string | URL,
  from: ImageOrigin,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  let name: string | Buffer
  try {
    name = typeof path === 'string' ? path : pathOfUrl(path.href)
    if (name.includes('\0')) throw new TypeError('a path has no null character')
  } catch {
    throw argumentError(
      from.field,
      'be a path of this machine',
      typeof path === 'string' ? path : path.href,
      'range',
    )
  }
  if (name === '') throw argumentError(from.field, 'be a path', name, 'range')
  const fault: FileFault = (message, facts) => {
    const kind = typeof path === 'string' ? looksLikeBase64(path) : undefined
    if (kind === undefined) return imageError(message, pathOrigin(name, from), facts)
    return imageError(
      `is not a path but looks like ${kind} in base64: pass Buffer.from(text, 'base64'), or the text as a data: URL ('data:image/${kind.toLowerCase()};base64,' before it)`,
      { ...from, file: undefined },
      { ...facts, expected: 'a path, a data: URL or bytes', actual: `${name.length} characters of base64` },
    )
  }
  const file = await RegularFile.open(name, fault, signal)
  try {
    checkLength(file.bytes, from)
    return await file.read(0, file.bytes)
  } finally {
    // Nobody waits for it: that would be one more way to a thread of Node's and back.
    file.close().catch(() => {})
  }
}

/** A string that can't be a path is not put into errors as one. */
const pathOrigin = (name: string | Buffer, from: ImageOrigin): ImageOrigin =>
  name.length > 4096 && from.file !== undefined ? { ...from, file: shown(from.file) } : from

export async function readBlob(
  blob: Pick<Blob, 'size' | 'arrayBuffer'>,
  from: ImageOrigin,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  checkLength(blob.size, from)
  try {
    const bytes = new Uint8Array(await untilAborted(blob.arrayBuffer(), signal))
    checkLength(bytes.length, from)
    return bytes
  } catch (cause) {
    if (cause instanceof ClipError || signal?.aborted) throw cause
    throw imageError(`can't be read: ${(cause as Error).message}`, from, { cause })
  }
}

export function readDataUrl(url: URL, from: ImageOrigin): Uint8Array {
  const text = url.href
  const comma = text.indexOf(',')
  if (comma < 0) throw argumentError(from.field, 'be a data: URL with a comma before its data', text)
  if (text.length > IMAGE_FILE_BYTES * 2) checkLength(text.length, from)
  const base64 = /;\s*base64\s*$/i.test(text.slice(0, comma))
  const raw = text.slice(comma + 1).replace(/#.*$/s, '')
  const plain = raw.includes('%')
    ? Buffer.from(
        raw.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
        'latin1',
      )
    : Buffer.from(raw, 'latin1')
  const bytes = base64 ? Buffer.from(plain.toString('latin1'), 'base64') : plain
  checkLength(bytes.length, from)
  return bytes
}

/** The part of a web ReadableStream that is used; compatible with the types of lib.dom and of Node. */
export interface ByteStream {
  /** As ReadableStream's. */
  getReader(): {
    /** As a reader's. */
    read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>
    /** As a reader's. */
    cancel(reason?: unknown): Promise<void>
  }
}

/**
 * Reads a stream to its end into one growing buffer, so that the overhead of chunks is not kept. The stream is destroyed
 * (Node) or cancelled (web) on abort, at the size limit, or if no data comes within the time limit.
 */
export async function readStream(
  stream: AsyncIterable<unknown> | ByteStream,
  from: ImageOrigin,
  limit: TimeLimit,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const iterator = iterate(stream, from)
  const slices = new Slices()
  let bytes = new Uint8Array(0)
  let length = 0
  // One timer and one listener for all chunks, because there may be as many chunks as bytes.
  let fail: (error: unknown) => void = () => {}
  const timer = setTimeout(() => fail(limit.fault()), limit.ms)
  const deaf = onAbort(signal, () => fail(signal!.reason))
  const next = () => {
    signal?.throwIfAborted()
    timer.refresh()
    return new Promise<IteratorResult<unknown>>((resolve, reject) => {
      fail = reject
      Promise.resolve(iterator.next()).then(resolve, reject)
    })
  }
  try {
    for (;;) {
      const { done, value } = await next()
      if (done) break
      const piece = bytesOf(value)
      if (!piece)
        throw argumentError(from.field, 'be a stream of bytes (no encoding, not in object mode)', value)
      if (length + piece.length > IMAGE_FILE_BYTES) checkLength(length + piece.length, from)
      if (length + piece.length > bytes.length) {
        const room = Math.max(length + piece.length, Math.min(2 * bytes.length, IMAGE_FILE_BYTES), 16_384)
        const larger = new Uint8Array(room)
        larger.set(bytes.subarray(0, length))
        bytes = larger
      }
      bytes.set(piece, length)
      length += piece.length
      // Chunks that are already available are read without a turn of the event loop.
      if (slices.due()) await slices.pause(signal)
    }
  } catch (cause) {
    stop(stream, iterator, cause)
    if (isClipError(cause) || signal?.aborted) throw cause
    throw imageError(`can't be read: ${(cause as Error)?.message ?? cause}`, from, { cause })
  } finally {
    clearTimeout(timer)
    deaf()
  }
  checkLength(length, from)
  return bytes.subarray(0, length)
}

/** Converts bytes of any realm and kind. */
function bytesOf(value: unknown): Uint8Array | undefined {
  if (types.isUint8Array(value)) return value
  if (types.isAnyArrayBuffer(value)) return new Uint8Array(value)
  return undefined
}

function iterate(stream: AsyncIterable<unknown> | ByteStream, from: ImageOrigin): AsyncIterator<unknown> {
  if ('locked' in stream && stream.locked)
    throw argumentError(from.field, 'be a stream that nobody else reads', got('a locked ReadableStream'))
  if (Symbol.asyncIterator in stream) return stream[Symbol.asyncIterator]()
  const reader = stream.getReader()
  return {
    next: () => reader.read() as Promise<IteratorResult<unknown>>,
    async return() {
      await reader.cancel()
      return { done: true, value: undefined }
    },
  }
}

/** Not awaited, because the source may never answer. */
function stop(stream: object, iterator: AsyncIterator<unknown>, cause: unknown): void {
  const node = stream as { destroy?(error?: Error): void; on?(event: string, listener: () => void): void }
  if (typeof node.destroy === 'function') {
    node.on?.('error', () => {})
    node.destroy(cause instanceof Error ? cause : undefined)
  } else void (async () => iterator.return?.())().catch(() => {})
}
