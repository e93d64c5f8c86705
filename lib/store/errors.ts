/** The errors of a store: damaged files, and failures to write to its folder. */

import { crc32 } from 'node:zlib'
import { ClipError, type ClipErrorDetails } from '../base/errors.js'
import { cannotWrite } from '../base/output-file.js'
import type { FileFault } from '../base/regular-file.js'
import type { LockOptions } from '../hub/lock.js'

/** A file of a store that can't be used: ERR_CLIP_CHECKPOINT, `file: message`. */
export function damaged(
  file: string,
  field: string,
  message: string,
  facts: Pick<ClipErrorDetails, 'expected' | 'actual' | 'cause'> = {},
): ClipError {
  return new ClipError('ERR_CLIP_CHECKPOINT', `${file}: ${message}`, { file, field, ...facts })
}

/** Throws unless the checksum of row `row` of vectors.bin, which is the `at`th row of `bytes`, is right. */
export function checkRow(
  file: string,
  row: number,
  bytes: Uint8Array,
  at: number,
  rowBytes: number,
  crc: number,
): void {
  if (crc32(bytes.subarray(at * rowBytes, (at + 1) * rowBytes)) !== crc)
    throw damaged(file, `row ${row}`, `row ${row} is damaged: its checksum does not match`)
}

/** Makes the errors of a file that `RegularFile` opens. */
export const faultOf =
  (file: string, field: string): FileFault =>
  (message, facts) =>
    damaged(file, field, message, facts)

/** Turns a system error of writing a file into ERR_CLIP_INPUT; other errors are not changed. */
export function writeError(error: unknown, file: string): unknown {
  if (error instanceof ClipError && error.code === 'ERR_CLIP_DOWNLOAD') {
    const { message, expected, actual } = error
    const details = { file: error.file ?? file, expected, actual, cause: error }
    return new ClipError('ERR_CLIP_INPUT', message, details)
  }
  return cannotWrite(error, file)
}

/** Takes the lock of a store. System errors become those of `writeError`; a long wait causes one warning. */
export function lockOptions(file: string, signal: AbortSignal | undefined): LockOptions {
  let told = false
  return {
    signal,
    systemError: error => error,
    onWait: (holder, milliseconds) => {
      if (told || milliseconds < 5000) return
      told = true
      const what = `${file} is held by ${holder}: waiting until the lock is released, or has not been renewed for 30 s`
      process.emitWarning(what, { type: 'ClipWarning', code: 'CLIP_STORE_LOCKED' })
    },
  }
}

/** The error for an optional package that is not installed; it names the command that installs it. */
export async function optionalPeer<T>(name: string, version: string, purpose: string): Promise<T> {
  try {
    return (await import(name)) as T
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause
    throw new ClipError(
      'ERR_CLIP_INPUT',
      `${purpose} needs the package ${name}, which is not installed: npm install ${name}@${version}`,
      { field: name, expected: `the package ${name}`, actual: 'not installed', cause },
    )
  }
}
