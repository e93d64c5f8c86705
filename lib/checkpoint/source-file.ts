/** A regular file read by position: headers and samples only, never a whole weight file. */

import { constants, type Stats } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { badCheckpoint } from './errors.js'

/** stat, or undefined when there is nothing at this path; other failures are ERR_CLIP_CHECKPOINT. */
export async function statPath(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw badCheckpoint(path, undefined, `can't be opened (${code ?? (cause as Error).message})`, { cause })
  }
}

export class SourceFile {
  private constructor(
    readonly path: string,
    readonly bytes: number,
    private readonly handle: FileHandle,
    readonly signal?: AbortSignal,
  ) {}

  /** Refuses all but regular files before opening them: opening a FIFO would wait for its writer. */
  static async open(path: string, signal?: AbortSignal): Promise<SourceFile> {
    signal?.throwIfAborted()
    const before = await statPath(path)
    if (!before) throw badCheckpoint(path, undefined, 'no such file')
    if (!before.isFile()) throw badCheckpoint(path, undefined, `is ${kindOf(before)}, not a file`)
    let handle: FileHandle
    try {
      // O_NONBLOCK: should the file have become a FIFO since, open still returns. Not on Windows, where it is undefined.
      handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    } catch (cause) {
      throw badCheckpoint(path, undefined, `can't be opened (${(cause as NodeJS.ErrnoException).code})`, {
        cause,
      })
    }
    try {
      const now = await handle.stat()
      if (!now.isFile()) throw badCheckpoint(path, undefined, `is ${kindOf(now)}, not a file`)
      return new SourceFile(path, now.size, handle, signal)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** Bytes [position, position + length), all of them, or ERR_CLIP_CHECKPOINT. */
  async read(position: number, length: number): Promise<Buffer> {
    this.signal?.throwIfAborted()
    if (position < 0 || length < 0 || position + length > this.bytes)
      throw badCheckpoint(
        this.path,
        undefined,
        `ends at byte ${this.bytes}, but bytes ${position} to ${position + length} were asked for`,
      )
    const buffer = Buffer.allocUnsafe(length)
    let done = 0
    while (done < length) {
      let got: number
      try {
        got = (await this.handle.read(buffer, done, length - done, position + done)).bytesRead
      } catch (cause) {
        throw badCheckpoint(
          this.path,
          undefined,
          `can't be read (${(cause as NodeJS.ErrnoException).code})`,
          { cause },
        )
      }
      if (got === 0)
        throw badCheckpoint(
          this.path,
          undefined,
          `shrank while it was read: ended at byte ${position + done}`,
        )
      done += got
      this.signal?.throwIfAborted()
    }
    return buffer
  }

  /** UTF-8 text, decoded strictly and in pieces. `what` names the part in errors. */
  async text(position: number, length: number, what: string): Promise<string> {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const piece = 128 * 1024
    const parts: string[] = []
    for (let at = 0; at < length; at += piece) {
      const n = Math.min(piece, length - at)
      const bytes = await this.read(position + at, n)
      try {
        parts.push(decoder.decode(bytes, { stream: at + n < length }))
      } catch (cause) {
        throw badCheckpoint(this.path, what, `${what} is not UTF-8 text`, { cause })
      }
    }
    return parts.join('')
  }

  async close(): Promise<void> {
    await this.handle.close()
  }
}

export function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory'
  if (stats.isFIFO()) return 'a FIFO'
  if (stats.isSocket()) return 'a socket'
  if (stats.isCharacterDevice() || stats.isBlockDevice()) return 'a device'
  return 'not a regular file'
}
