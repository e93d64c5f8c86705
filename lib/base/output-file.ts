/**
 * Writes the files that callers name, completely or not at all (see replace-file.ts). A link is followed, not replaced; a
 * file keeps its mode; a device or a pipe is written to directly.
 */

import { constants, write } from 'node:fs'
import { access, lstat, open, readlink, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ClipError } from './errors.js'
import { replaceFile } from './replace-file.js'

const writeSome = promisify(write)

/** The destination of the bytes. */
export interface OutputFile {
  /** Appends all of `data`, or overwrites the bytes at `position`, which is possible only in a regular file. */
  write(data: Uint8Array, position?: number): Promise<void>
}

const REASONS: Record<string, string> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'no permission',
  EPERM: 'no permission',
  EROFS: 'the file system is read-only',
  EISDIR: 'a folder exists at this path',
  ENOTDIR: 'a part of this path is not a folder',
  ELOOP: 'its links form a loop',
  ENAMETOOLONG: 'its name is too long',
  EEXIST: 'something else exists at this path',
  EFBIG: 'the file system or a limit of this process does not allow a file of this size',
  EPIPE: 'the reader of this pipe is gone',
  ENXIO: 'this pipe has no reader',
  EMFILE: 'too many open files',
  ENFILE: 'too many open files',
  EBADF: 'this process has no such file open',
  EIO: 'the device reports an input/output error',
}

/** Turns the system's error for a file that can't be written into ERR_CLIP_INPUT; other errors are not changed. */
export function cannotWrite(error: unknown, file: string): unknown {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException
  if (error instanceof ClipError || typeof code !== 'string' || !syscall) return error
  const why = code === 'ENOENT' ? `there is no folder ${dirname(file)}` : (REASONS[code] ?? code)
  return new ClipError('ERR_CLIP_INPUT', `${file}: can't be written (${why})`, {
    file,
    expected: 'a file that can be written',
    actual: why,
    cause: error,
  })
}

/** Writes all of `data`, however much a single write accepts, and waits while a pipe is full. */
async function writeAll(descriptor: number, data: Uint8Array, position?: number): Promise<void> {
  for (let done = 0; done < data.byteLength; ) {
    const at = position === undefined ? null : position + done
    try {
      done += (await writeSome(descriptor, data, done, data.byteLength - done, at)).bytesWritten
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      await delay(5)
    }
  }
}

/** The path that `file` leads to through links, whether or not it exists. */
async function targetOf(file: string): Promise<string> {
  let path = resolve(file)
  for (let links = 0; links < 40; links++) {
    const stats = await lstat(path).catch(error => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    if (!stats?.isSymbolicLink()) return path
    path = resolve(dirname(path), await readlink(path))
  }
  throw Object.assign(new Error('too many links'), { code: 'ELOOP', syscall: 'readlink' })
}

/** Whether `file` is a device or a pipe, which is written to directly. */
async function writtenInPlace(file: string): Promise<boolean> {
  if (/^\/(dev|proc)\//.test(file)) return true
  const stats = await stat(file).catch(() => undefined)
  return stats !== undefined && !stats.isFile() && !stats.isDirectory()
}

/** The file descriptor that a name such as /dev/fd/3 or /dev/stdout stands for. */
function descriptorOf(file: string): number | undefined {
  const [, name, number] =
    /^\/dev\/(stdin|stdout|stderr)$|^(?:\/dev|\/proc\/self)\/fd\/(\d+)$/.exec(file) ?? []
  if (name !== undefined) return ['stdin', 'stdout', 'stderr'].indexOf(name)
  return number === undefined ? undefined : Number(number)
}

async function toDevice<T>(file: string, body: (output: OutputFile) => Promise<T>): Promise<T> {
  const own = descriptorOf(resolve(file))
  // No O_CREAT, because nothing may be created in /dev. O_NONBLOCK, because opening a pipe without a reader would block.
  const handle =
    own === undefined
      ? await open(file, constants.O_WRONLY | constants.O_APPEND | (constants.O_NONBLOCK ?? 0))
      : undefined
  try {
    return await body({
      write: (data, position) => {
        if (position === undefined) return writeAll(handle?.fd ?? own!, data)
        throw new ClipError('ERR_CLIP_INPUT', `${file}: is not a regular file, which this format needs`, {
          file,
          expected: 'a regular file',
          actual: 'a device or a pipe',
        })
      },
    })
  } finally {
    await handle?.close()
  }
}

/**
 * Runs `body` on a new file that replaces `file` on success. On failure the old file is unchanged, and no temporary file is
 * left. Rejects with a ClipError ERR_CLIP_INPUT naming the file if it can't be written, or with the error of `body`.
 */
export async function writeOutput<T>(file: string, body: (output: OutputFile) => Promise<T>): Promise<T> {
  try {
    if (await writtenInPlace(resolve(file))) return await toDevice(file, body)
    const target = await targetOf(file)
    const before = await stat(target).catch(() => undefined)
    if (before?.isDirectory())
      throw Object.assign(new Error('is a folder'), { code: 'EISDIR', syscall: 'open' })
    // A rename needs no permission on the file that it replaces, so check it.
    if (before) await access(target, constants.W_OK)
    return await replaceFile(
      target,
      async handle => {
        const result = await body({ write: (data, position) => writeAll(handle.fd, data, position) })
        if (before) {
          await handle.chown(before.uid, before.gid).catch(() => {}) // only root may give a file away
          await handle.chmod(before.mode & 0o7777)
        }
        return result
      },
      { mode: before ? 0o600 : 0o666 },
    )
  } catch (error) {
    throw cannotWrite(error, file)
  }
}
