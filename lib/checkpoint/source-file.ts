/** Opens the files of a checkpoint. Only headers and samples are read here, never a whole weight file. */

import type { Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { type FileFault, RegularFile, statPath as statAny, systemReason } from '../base/regular-file.js'
import { badCheckpoint } from './errors.js'

export type SourceFile = RegularFile

const faultOf =
  (path: string): FileFault =>
  (message, facts, part) =>
    badCheckpoint(path, part, message, facts)

/** A regular file, or ERR_CLIP_CHECKPOINT. */
export function openSource(path: string, signal?: AbortSignal): Promise<SourceFile> {
  return RegularFile.open(path, faultOf(path), signal)
}

/** stat, or undefined if the path does not exist; other failures are ERR_CLIP_CHECKPOINT. */
export function statPath(path: string): Promise<Stats | undefined> {
  return statAny(path, faultOf(path))
}

/** The modification time, in nanoseconds if the file system supports it; failures are ERR_CLIP_CHECKPOINT. */
export async function timesOf(path: string): Promise<string> {
  const { mtimeNs, ctimeNs } = await stat(path, { bigint: true }).catch((cause: Error) => {
    const actual = systemReason(cause, 'opened', path)
    throw faultOf(path)(actual, { expected: 'a file that can be read', actual, cause })
  })
  return `${mtimeNs} ${ctimeNs}`
}
