/** Messages for disk errors that say what to do. */

import { ClipError } from '../base/errors.js'

/** Formats a number of bytes: 353976522 is "354 MB". */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
}

const advice = 'choose another folder with the option cacheDir or the environment variable CLIP_NATIVE_CACHE'

/** Turns a system error of `file` into ERR_CLIP_DOWNLOAD; other errors are not changed. */
export function fileError(error: unknown, file: string): unknown {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException
  if (error instanceof ClipError || typeof code !== 'string' || !syscall) return error
  const reasons: Record<string, string> = {
    ENOSPC: `the disk is full (${code}): free some space (what has been downloaded is kept); or ${advice}`,
    EDQUOT: `your disk quota is used up (${code}): free some space (what has been downloaded is kept); or ${advice}`,
    EFBIG: `the file system does not allow a file of this size (${code}): ${advice}`,
    EACCES: `no permission to write there (${code}): ${advice}`,
    EPERM: `no permission to write there (${code}): ${advice}`,
    EROFS: `the file system is read-only (${code}): ${advice}`,
    ENOTDIR: `a part of this path is not a folder (${code}): ${advice}`,
    EEXIST: `a part of this path is not a folder (${code}): ${advice}`,
    EISDIR: `there is a folder in the file's place (${code})`,
    ENOENT: `this path can't be created (${code}): ${advice}`,
  }
  const reason = reasons[code] ?? `${syscall} failed (${code}): ${(error as Error).message}`
  return new ClipError('ERR_CLIP_DOWNLOAD', `${file}: ${reason}`, { file, cause: error })
}
