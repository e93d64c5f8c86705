/** Model folders: which files of which family are there, and which of them are read. */

import { join } from 'node:path'
import { badCheckpoint, badConfig, type Pace } from './errors.js'
import { type Fields, readJsonFile } from './fields.js'
import { fingerprint } from './fingerprint.js'
import { checkEndToken, readHuggingFace } from './huggingface.js'
import { huggingFacePreprocess } from './processor.js'
import { readSafetensors, readShards } from './safetensors.js'
import { SourceFile, statPath } from './source-file.js'
import type { Checkpoint, CheckpointOptions } from './spec.js'
import { TensorTable } from './tensors.js'
import { readVocabulary } from './vocabulary.js'

export async function readFolder(
  folder: string,
  options: CheckpointOptions,
  pace: Pace,
  opened: SourceFile[],
): Promise<Checkpoint> {
  const has = async (name: string) => (await statPath(join(folder, name))) !== undefined
  if (!(await has('config.json'))) throw badCheckpoint(folder, 'config.json', 'has no config.json')
  const table = new TensorTable()
  if (await has('model.safetensors')) {
    const file = await SourceFile.open(join(folder, 'model.safetensors'), pace.signal)
    opened.push(file)
    await readSafetensors(file, table, pace)
  } else if (await has('model.safetensors.index.json'))
    await readShards(folder, 'model.safetensors.index.json', table, pace, opened)
  else
    throw badCheckpoint(
      folder,
      'model.safetensors',
      'has no model.safetensors and no model.safetensors.index.json',
    )
  return huggingFaceCheckpoint(folder, table, options, pace)
}

/** The rest of a Hugging Face folder whose tensors are in `table`. */
export async function huggingFaceCheckpoint(
  folder: string,
  table: TensorTable,
  options: CheckpointOptions,
  pace: Pace,
): Promise<Checkpoint> {
  const config = await readJsonFile(join(folder, 'config.json'), pace.signal)
  const { model, tokenizer, endId } = await readHuggingFace(config, table, options)
  const preprocess = huggingFacePreprocess(await processorFields(folder, pace), model.image?.imageSize ?? 0)
  const vocabulary = await readVocabulary(folder, pace)
  const vocab = vocabulary?.vocab as Map<string, number> | undefined
  checkEndToken(config, endId, vocab?.get('<|endoftext|>'), model.text?.vocabSize ?? 0)
  return {
    model,
    preprocess,
    tokenizer,
    ...(vocabulary ? { vocabulary } : {}),
    family: 'huggingface',
    fingerprint: await fingerprint(table, model, pace),
  }
}

async function processorFields(folder: string, pace: Pace): Promise<Fields> {
  // transformers 5 nests the image processor in processor_config.json; older ones write preprocessor_config.json.
  for (const name of ['processor_config.json', 'preprocessor_config.json']) {
    if (!(await statPath(join(folder, name)))) continue
    const file = await readJsonFile(join(folder, name), pace.signal)
    const fields = file.section('image_processor') ?? (name === 'preprocessor_config.json' ? file : undefined)
    if (fields) return fields
  }
  throw badConfig(
    folder,
    'preprocessor_config.json',
    'has neither preprocessor_config.json nor processor_config.json with `image_processor`: how pictures become the model’s input is unknown',
  )
}
