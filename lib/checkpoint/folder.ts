/** Model folders and single weight files: which files of which family are there, and which of them are read. */

import { basename, dirname, join } from 'node:path'
import type { ClipError } from '../base/errors.js'
import { baseModel } from '../base/known-models.js'
import { type ImageTowerSpec, imageSizeOf } from '../native/spec.js'
import { readVocabulary } from '../tokenizer/read-vocabulary.js'
import { badConfig, type Pace } from './errors.js'
import { type Fields, readJsonFile } from './fields.js'
import { checkEndToken, readHuggingFace } from './huggingface.js'
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
import { isOpenaiOrigin, readOpenai } from './openai.js'
import { type OpenclipSizes, openclipSizes } from './openclip.js'
import { huggingFacePreprocess, openaiPreprocess, openclipPreprocess } from './processor.js'
import { selectModel } from './select.js'
import { readShards } from './shards.js'
import { type SourceFile, statPath } from './source-file.js'
import type { Checkpoint, CheckpointOptions } from './spec.js'
import { TensorTable } from './tensors.js'
import { readWeights } from './weights.js'

interface Job {
  options: CheckpointOptions
  pace: Pace
  opened: SourceFile[]
}

/** The size of images that a text tower by itself never sees. */
const NO_PICTURES = 224

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

/** A weight file by itself. A configuration beside it is used where its tensors are of that configuration's family. */
export async function readSingleFile(path: string, job: Job): Promise<Checkpoint> {
  const table = new TensorTable()
  await readWeights(path, table, job.pace, job.opened)
  return checkpointOf(table, dirname(path), job)
}

/** `config`: what the folder was told by; a file by itself need not belong to what lies beside it. */
async function checkpointOf(
  table: TensorTable,
  folder: string,
  job: Job,
  config?: string,
): Promise<Checkpoint> {
  const layout = await selectModel(table, job.pace, job.options.stateDict)
  if (layout === 'huggingface') {
    if (await firstOf(folder, [HUGGING_FACE])) {
      const fields = await readJsonFile(join(folder, HUGGING_FACE), job.pace.signal)
      const type = fields.get('model_type')
      if (config !== undefined || (typeof type === 'string' && type.startsWith('clip')))
        return huggingFaceCheckpoint(folder, table, job, fields)
    }
    return huggingFaceFile(table, job)
  }
  if (config !== HUGGING_FACE && !isOpenaiOrigin(table) && (await firstOf(folder, [OPENCLIP])))
    return openclipCheckpoint(folder, table, job)
  return openaiLayout(table, job)
}

async function openaiLayout(
  table: TensorTable,
  job: Job,
  config?: OpenclipSizes,
  preprocessFields?: Fields,
): Promise<Checkpoint> {
  const { model, family } = await readOpenai(table, job.options, config)
  const imageSize = model.image ? imageSizeOf(model.image) : NO_PICTURES
  return {
    model,
    preprocess: config ? openclipPreprocess(preprocessFields, imageSize) : openaiPreprocess(imageSize),
    tokenizer: { contextLength: model.text?.embed.contextLength ?? 0, family },
    family,
    ignored: table.ignored,
  }
}

async function openclipCheckpoint(folder: string, table: TensorTable, job: Job): Promise<Checkpoint> {
  const config = await readJsonFile(join(folder, OPENCLIP), job.pace.signal)
  const model = config.section('model_cfg')
  if (!model) throw config.wrong('model_cfg', 'an object')
  const parts = await openaiLayout(table, job, openclipSizes(model), config.section('preprocess_cfg'))
  // OpenCLIP's tokenizer is OpenAI's, whatever the folder holds for transformers; only a cut vocabulary needs the files.
  const own = parts.model.text && parts.model.text.embed.vocabSize !== 49408
  const vocabulary = own ? await vocabularyOf(folder, job.pace) : undefined
  return { ...parts, ...(vocabulary ? { vocabulary } : {}) }
}

/** transformers' tensors without a configuration: sizes from the tensors, the rest as for OpenAI's files. */
async function huggingFaceFile(table: TensorTable, job: Job): Promise<Checkpoint> {
  const { model, tokenizer } = await readHuggingFace(undefined, table, job.options)
  return {
    model,
    preprocess: openaiPreprocess(model.image ? imageSizeOf(model.image) : NO_PICTURES),
    tokenizer,
    family: 'huggingface',
    ignored: table.ignored,
  }
}

async function huggingFaceCheckpoint(
  folder: string,
  table: TensorTable,
  job: Job,
  config: Fields,
): Promise<Checkpoint> {
  const { model, tokenizer } = await readHuggingFace(config, table, job.options)
  const imageSize = model.image ? imageSizeOf(model.image) : NO_PICTURES
  const fields = model.image ? await processorFields(folder, job.pace) : undefined
  const preprocess = fields ? huggingFacePreprocess(fields, imageSize) : openaiPreprocess(imageSize)
  const vocabulary = model.text ? await vocabularyOf(folder, job.pace) : undefined
  const vocab = vocabulary?.vocab
  const vocabEnd = vocab instanceof Map ? vocab.get('<|endoftext|>') : vocab?.['<|endoftext|>']
  if (model.text) checkEndToken(config, model.text, vocabEnd)
  return {
    model,
    preprocess,
    tokenizer,
    ...(vocabulary ? { vocabulary } : {}),
    ...(model.image && !fields ? { unknownPreprocess: noProcessor(folder, config, model.image) } : {}),
    family: 'huggingface',
    ignored: table.ignored,
  }
}

async function vocabularyOf(folder: string, pace: Pace): Promise<Checkpoint['vocabulary']> {
  const vocabulary =
    (await readVocabulary(folder, pace.signal)) ??
    (await readVocabulary(siblingOf(folder, /^text_encoder/, 'tokenizer'), pace.signal))
  pace.restart()
  return vocabulary
}

/** In a pipeline of diffusers: what belongs to a part lies in a folder beside it. */
function siblingOf(folder: string, part: RegExp, name: string): string {
  const own = basename(folder)
  return part.test(own) ? join(dirname(folder), own.replace(part, name)) : folder
}

async function processorFields(folder: string, pace: Pace): Promise<Fields | undefined> {
  // transformers 5 nests the image processor in processor_config.json; older ones write preprocessor_config.json.
  for (const place of new Set([folder, siblingOf(folder, /^image_encoder$/, 'feature_extractor')]))
    for (const name of ['processor_config.json', 'preprocessor_config.json']) {
      if (!(await statPath(join(place, name)))) continue
      const file = await readJsonFile(join(place, name), pace.signal)
      const fields =
        file.section('image_processor') ?? (name === 'preprocessor_config.json' ? file : undefined)
      if (fields) return fields
    }
  return undefined
}

function noProcessor(folder: string, config: Fields, image: ImageTowerSpec): ClipError {
  const patch = image.kind === 'transformer' ? image.embed.patchSize : 32
  const base = baseModel(config.get('_name_or_path'), patch, imageSizeOf(image))
  return badConfig(
    folder,
    'preprocessor_config.json',
    'has neither preprocessor_config.json nor processor_config.json with `image_processor`, so how images become the input of the model is unknown. ' +
      `Copy preprocessor_config.json from the model that this one was trained from: cp "$(npx clip-native download ${base})/preprocessor_config.json" "${folder}"; or load only the text tower: \`towers: ['text']\``,
    { expected: 'preprocessor_config.json' },
  )
}
