/** The bytes of an encoded picture, from wherever they lie. No JavaScript loop over them, nothing that can hang. */

import type { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { onAbort } from '../abort.js'
import { argumentError, ClipError } from '../errors.js'
import { pathOfUrl } from '../file-name.js'
import { type FileFault, RegularFile } from '../regular-file.js'

/** Encoded bytes that a file, Blob, stream or buffer may have. */
export const IMAGE_FILE_BYTES = 256 * 1024 * 1024

/** Where a picture came from, for messages: the field of the call, its index, the path as it was given. */
export interface Origin {
  field: string
  index?: number
  file?: string
}

export function imageError(
  message: string,
  from: Origin,
  more: { expected?: string; actual?: string; cause?: unknown } = {},
): ClipError {
  return new ClipError('ERR_CLIP_IMAGE', `${from.file ?? `\`${from.field}\``} ${message}`, {
    ...from,
    ...more,
  })
}

function checkLength(bytes: number, from: Origin): void {
  if (bytes === 0)
    throw imageError('is empty: 0 bytes', from, { expected: 'the bytes of a picture', actual: '0 bytes' })
  if (bytes > IMAGE_FILE_BYTES)
    throw imageError(`has more than the ${IMAGE_FILE_BYTES} bytes that an encoded picture may have`, from, {
      expected: `at most ${IMAGE_FILE_BYTES} bytes`,
      actual: `${bytes} bytes`,
    })
}

/** All of a regular file; a file that grows while it is read does not grow past the size that was seen. */
export async function readPath(path: string | URL, from: Origin, signal?: AbortSignal): Promise<Uint8Array> {
  let name: string | Buffer
  try {
    name = path instanceof URL ? pathOfUrl(path) : path
    if (name.includes('\0')) throw new TypeError('a path has no null character')
  } catch {
    throw argumentError(from.field, 'be a path of this machine', String(path), 'range')
  }
  if (name === '') throw argumentError(from.field, 'be a path', name, 'range')
  const fault: FileFault = (message, facts) => imageError(message, from, facts)
  const file = await RegularFile.open(name, fault, signal)
  try {
    checkLength(file.bytes, from)
    return await file.read(0, file.bytes)
  } finally {
    await file.close()
  }
}

export async function readBlob(blob: Blob, from: Origin, signal?: AbortSignal): Promise<Uint8Array> {
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

export function readDataUrl(url: URL, from: Origin): Uint8Array {
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

/** Reads to the end; on abort or past the limit the stream is destroyed (node) or cancelled (web). */
export async function readStream(
  stream: Readable | ReadableStream<Uint8Array>,
  from: Origin,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  const iterator = iterate(stream, from)
  try {
    for (;;) {
      const { done, value } = await untilAborted(iterator.next(), signal)
      if (done) break
      if (!(value instanceof Uint8Array))
        throw argumentError(from.field, 'be a stream of bytes (no encoding, not in object mode)', value)
      length += value.length
      if (length > IMAGE_FILE_BYTES) checkLength(length, from)
      chunks.push(value)
    }
  } catch (cause) {
    stop(stream, iterator, cause)
    if (cause instanceof ClipError || cause instanceof TypeError || signal?.aborted) throw cause
    throw imageError(`can't be read: ${(cause as Error).message}`, from, { cause })
  }
  checkLength(length, from)
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, length)
}

function iterate(stream: Readable | ReadableStream<Uint8Array>, from: Origin): AsyncIterator<unknown> {
  if ('locked' in stream && stream.locked)
    throw argumentError(from.field, 'be a stream that nobody else reads', '=a locked ReadableStream')
  return stream[Symbol.asyncIterator]()
}

/** Not awaited: a source that does not answer must not keep the caller waiting. */
function stop(stream: object, iterator: AsyncIterator<unknown>, cause: unknown): void {
  const node = stream as { destroy?(error?: Error): void; on?(event: string, listener: () => void): void }
  if (typeof node.destroy === 'function') {
    node.on?.('error', () => {})
    node.destroy(cause instanceof Error ? cause : undefined)
  } else void iterator.return?.().then(undefined, () => {})
}

/** The promise, or a rejection with `signal.reason` as soon as it aborts. */
export function untilAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise
  if (signal.aborted) {
    promise.catch(() => {})
    return Promise.reject(signal.reason)
  }
  return new Promise((resolve, reject) => {
    const deaf = onAbort(signal, () => reject(signal.reason))
    promise.then(resolve, reject).finally(deaf)
  })
}
