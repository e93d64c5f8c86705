/** Model folders and single weight files: which files are there, and which of them are read. */

import { dirname, join } from 'node:path'
import type { Pace } from './errors.js'
import { readFamily } from './families/index.js'
import {
  firstOf,
  HUGGING_FACE,
  huggingFaceWeights,
  noWeights,
  OPENCLIP,
  OPENCLIP_WEIGHTS,
  onlyWeightFile,
  sentenceTransformersFolder,
} from './layouts.js'
import { selectModel } from './select.js'
import { readShards } from './shards.js'
import type { SourceFile } from './source-file.js'
import type { Checkpoint, CheckpointOptions } from './spec.js'
import { TensorTable } from './tensors.js'
import { readWeights } from './weights.js'

interface Job {
  options: CheckpointOptions
  pace: Pace
  opened: SourceFile[]
}

export async function readFolder(folder: string, job: Job): Promise<Checkpoint> {
  const table = new TensorTable()
  // The hub's OpenCLIP repositories often hold the same weights for transformers too: OpenCLIP's own files come first.
  const openclip = await firstOf(folder, [OPENCLIP])
  const openclipWeights = openclip && (await firstOf(folder, OPENCLIP_WEIGHTS))
  if (openclipWeights) {
    await readWeights(join(folder, openclipWeights), table, job.pace, job.opened)
    return checkpointOf(table, folder, job, OPENCLIP)
  }
  if (await firstOf(folder, [HUGGING_FACE])) {
    const name = await huggingFaceWeights(folder)
    if (name) {
      if (name.endsWith('.json')) await readShards(folder, name, table, job.pace, job.opened)
      else await readWeights(join(folder, name), table, job.pace, job.opened)
      return checkpointOf(table, folder, job, HUGGING_FACE)
    }
  }
  const inner = await sentenceTransformersFolder(folder)
  if (inner) return readFolder(join(folder, inner), job)
  const config =
    openclip ?? (await firstOf(folder, [HUGGING_FACE, 'adapter_config.json', 'model_index.json']))
  const only = config === undefined ? await onlyWeightFile(folder) : undefined
  if (only) return readSingleFile(join(folder, only), job)
  throw await noWeights(folder, config === HUGGING_FACE || config === OPENCLIP ? config : undefined)
}

/** A single weight file. A configuration beside it is used if its tensors belong to the configuration's family. */
export async function readSingleFile(path: string, job: Job): Promise<Checkpoint> {
  const table = new TensorTable()
  await readWeights(path, table, job.pace, job.opened)
  return checkpointOf(table, dirname(path), job)
}

async function checkpointOf(
  table: TensorTable,
  folder: string,
  { options, pace }: Job,
  toldBy?: string,
): Promise<Checkpoint> {
  const layout = await selectModel(table, pace, options.stateDict)
  return readFamily({ table, layout, folder, toldBy, options, pace })
}
