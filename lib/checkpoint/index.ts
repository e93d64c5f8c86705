/** Reads everything that `load` needs to know about a checkpoint. Formats are recognised by content, not by file names. */

import { resolve } from 'node:path'
import { kindOf } from '../base/regular-file.js'
import { badCheckpoint, Pace } from './errors.js'
import { readFolder, readSingleFile } from './folder.js'
import { checkCheckpointOptions } from './options.js'
import { type SourceFile, statPath } from './source-file.js'
import type { Checkpoint, CheckpointOptions } from './spec.js'

export * from './spec.js'

/**
 * Reads headers and configuration of a model folder (Hugging Face, OpenCLIP) or a weight file (safetensors, OpenAI's
 * TorchScript archive, a PyTorch state dict); the only weight that is read is `logit_scale`.
 * Rejects with ERR_CLIP_CHECKPOINT (weights, vocabulary), ERR_CLIP_CONFIG (configuration), TypeError / RangeError
 * (options) or signal.reason.
 */
export async function readCheckpoint(path: string, options: CheckpointOptions = {}): Promise<Checkpoint> {
  checkCheckpointOptions(options)
  const source = resolve(path)
  const opened: SourceFile[] = []
  const job = { options, pace: new Pace(options.signal), opened }
  try {
    const stats = await statPath(source)
    if (!stats) throw badCheckpoint(source, undefined, 'no such file or folder')
    if (stats.isDirectory()) return await readFolder(source, job)
    if (!stats.isFile()) throw badCheckpoint(source, undefined, `is ${kindOf(stats)}, not a file or folder`)
    return await readSingleFile(source, job)
  } finally {
    await Promise.all(opened.map(file => file.close()))
  }
}
