/**
 * Opens the files that a caller or a model folder names. Only regular files are accepted, whose size is known before a byte
 * is read. A FIFO, a device or a socket could block its reader for ever, or never end.
 */

import { constants, type Stats } from 'node:fs'
import { type FileHandle, lstat, open, stat } from 'node:fs/promises'
import { allocateBytes } from './allocate.js'
import type { ClipErrorDetails } from './errors.js'
import { lostBytes, nameOfPath } from './file-name.js'

/**
 * Makes the caller's kind of error from a phrase that follows the file's name: "is a FIFO, not a file". `part` is the part of
 * the file that was to be read, if the reader named it.
 */
export type FileFault = (message: string, facts: FileFacts, part?: string) => Error
export type FileFacts = Pick<ClipErrorDetails, 'expected' | 'actual' | 'cause'>

const REASONS: Record<string, string> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'does not exist',
  EACCES: 'may not be read (no permission)',
  EPERM: 'may not be read (no permission)',
  ELOOP: 'is a symbolic link, or a loop of them',
  ENAMETOOLONG: 'has too long a name',
  EMFILE: "can't be opened: too many open files",
  ENFILE: "can't be opened: too many open files",
}

/** The reason why the system did not open or read a file, as a phrase that follows its name. */
export function systemReason(cause: unknown, verb: 'opened' | 'read', path: string | Buffer = ''): string {
  const { code, message } = cause as NodeJS.ErrnoException
  const reason = REASONS[code ?? ''] ?? `can't be ${verb} (${code ?? message})`
  return code === 'ENOENT' && typeof path === 'string' ? reason + lostBytes(path) : reason
}

function systemFault(
  fault: FileFault,
  cause: unknown,
  verb: 'opened' | 'read',
  path: string | Buffer,
): Error {
  const actual = systemReason(cause, verb, path)
  return fault(actual, { expected: 'a file that can be read', actual, cause })
}

/** Whether a link is followed to its target, or refused because it is not a regular file. */
export type Links = 'followed' | 'refused'

const look = (path: string | Buffer, links: Links) => (links === 'followed' ? stat(path) : lstat(path))

/** The stats of a path, or undefined if nothing is there; other failures become errors of `fault`. */
export async function statPath(
  path: string,
  fault: FileFault,
  links: Links = 'followed',
): Promise<Stats | undefined> {
  try {
    return await look(path, links)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw systemFault(fault, cause, 'opened', path)
  }
}

export function kindOf(
  stats: Pick<
    Stats,
    'isSymbolicLink' | 'isDirectory' | 'isFIFO' | 'isSocket' | 'isCharacterDevice' | 'isBlockDevice'
  >,
): string {
  if (stats.isSymbolicLink()) return 'a symbolic link'
  if (stats.isDirectory()) return 'a directory'
  if (stats.isFIFO()) return 'a FIFO'
  if (stats.isSocket()) return 'a socket'
  if (stats.isCharacterDevice() || stats.isBlockDevice()) return 'a device'
  return 'not a regular file'
}

function checkRegular(stats: Stats, fault: FileFault): void {
  if (stats.isFile()) return
  const actual = kindOf(stats)
  throw fault(`is ${actual}, not a file`, { expected: 'a file', actual })
}

const PIECE = 16 * 1024 * 1024
const TEXT_PIECE = 128 * 1024

/** The number of bytes read, 0 at the end. Repeats a read that a signal interrupted, which Node does not. */
export async function readSome(
  handle: FileHandle,
  buffer: Buffer,
  offset: number,
  length: number,
  position: number,
): Promise<number> {
  for (;;)
    try {
      return (await handle.read(buffer, offset, length, position)).bytesRead
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINTR') throw error
    }
}

/** An open regular file, read by position. The opener must close it. */
export class RegularFile {
  private constructor(
    readonly path: string,
    /** Its size when it was opened. */
    readonly bytes: number,
    /** Distinguishes it from another file of the same name. */
    readonly identity: string,
    private readonly handle: FileHandle,
    private readonly fault: FileFault,
    readonly signal?: AbortSignal,
  ) {}

  /** Rejects with `fault`'s error or `signal.reason`. */
  static async open(
    path: string | Buffer,
    fault: FileFault,
    signal?: AbortSignal,
    links: Links = 'followed',
  ): Promise<RegularFile> {
    signal?.throwIfAborted()
    const failed = (cause: unknown) => {
      throw systemFault(fault, cause, 'opened', path)
    }
    // Checked before opening, because opening alone can wait for the other end of a FIFO or start a device.
    checkRegular(await look(path, links).catch(failed), fault)
    // With O_NONBLOCK, open returns even if the file has become a FIFO in the meantime. The constant is undefined on Windows.
    const noLinks = links === 'refused' ? (constants.O_NOFOLLOW ?? 0) : 0
    const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | noLinks
    const handle = await open(path, flags).catch(failed)
    try {
      const now = await handle.stat().catch(failed)
      checkRegular(now, fault)
      return new RegularFile(
        typeof path === 'string' ? path : nameOfPath(path),
        now.size,
        `${now.dev}:${now.ino}`,
        handle,
        fault,
        signal,
      )
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** Reads all bytes [position, position + length), into new memory or to the beginning of `room`. */
  async read(position: number, length: number, room?: Buffer): Promise<Buffer> {
    this.signal?.throwIfAborted()
    if (position < 0 || length < 0 || position + length > this.bytes)
      throw this.fault(
        `ends at byte ${this.bytes}, but bytes ${position} to ${position + length} were asked for`,
        {},
      )
    const buffer = room?.subarray(0, length) ?? allocateBytes(`a part of ${this.path}`, length)
    for (let done = 0; done < length; ) {
      let got: number
      try {
        got = await readSome(this.handle, buffer, done, Math.min(length - done, PIECE), position + done)
      } catch (cause) {
        throw systemFault(this.fault, cause, 'read', this.path)
      }
      if (got === 0)
        throw this.fault(`shrank while it was read: ended at byte ${position + done}`, {
          expected: `${position + length} bytes`,
          actual: `${position + done} bytes`,
        })
      done += got
      this.signal?.throwIfAborted()
    }
    return buffer
  }

  /** Reads UTF-8 text, which is decoded strictly. `part` names it in errors. */
  async text(position: number, length: number, part: string): Promise<string> {
    return (await this.textPieces(position, length, part)).join('')
  }

  /** Reads UTF-8 text in consecutive pieces, because joining megabytes of text would block the event loop. */
  async textPieces(position: number, length: number, part: string): Promise<string[]> {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const parts: string[] = []
    for (let at = 0; at < length; at += TEXT_PIECE) {
      const n = Math.min(TEXT_PIECE, length - at)
      const bytes = await this.read(position + at, n)
      try {
        parts.push(decoder.decode(bytes, { stream: at + n < length }))
      } catch (cause) {
        throw this.fault(`${part} is not UTF-8 text`, { cause }, part)
      }
    }
    return parts
  }

  async close(): Promise<void> {
    await this.handle.close()
  }
}
