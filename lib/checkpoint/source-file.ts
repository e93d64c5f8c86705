/** The files of a checkpoint: headers and samples are read here, never a whole weight file. */

import type { Stats } from 'node:fs'
import { type FileFault, RegularFile, statPath as statAny } from '../base/regular-file.js'
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

/** stat, or undefined when there is nothing at this path; other failures are ERR_CLIP_CHECKPOINT. */
export function statPath(path: string): Promise<Stats | undefined> {
  return statAny(path, faultOf(path))
}
