/** Model folders and single weight files: which files of which family are there, and which of them are read. */

import { dirname, join } from 'node:path'
import { readVocabulary } from '../tokenizer/read-vocabulary.js'
import { badCheckpoint, badConfig, type Pace } from './errors.js'
import { type Fields, readJsonFile } from './fields.js'
import { fingerprint } from './fingerprint.js'
import { checkEndToken, isHuggingFace, readHuggingFace } from './huggingface.js'
import { isOpenaiLayout, isOpenaiOrigin, type OpenclipSizes, readOpenai } from './openai.js'
import { openclipSizes } from './openclip.js'
import { huggingFacePreprocess, openaiPreprocess, openclipPreprocess } from './processor.js'
import { readShards } from './safetensors.js'
import { type SourceFile, statPath } from './source-file.js'
import type { Checkpoint, CheckpointOptions } from './spec.js'
import { TensorTable } from './tensors.js'
import { readWeights } from './weights.js'

interface Job {
  options: CheckpointOptions
  pace: Pace
  opened: SourceFile[]
}

const HUGGING_FACE = 'config.json'
const OPENCLIP = 'open_clip_config.json'
const INDEX = 'model.safetensors.index.json'
/** Weight files in the order in which the libraries look for them. */
const OPENCLIP_WEIGHTS = [
  'open_clip_model.safetensors',
  'open_clip_pytorch_model.bin',
  'open_clip_pytorch_model.pt',
]
const HUGGING_FACE_WEIGHTS = ['model.safetensors', INDEX, 'pytorch_model.bin']

async function firstOf(folder: string, names: string[]): Promise<string | undefined> {
  for (const name of names) if (await statPath(join(folder, name))) return name
  return undefined
}

export async function readFolder(folder: string, job: Job): Promise<Checkpoint> {
  const table = new TensorTable()
  // The hub's OpenCLIP repositories often hold the same weights for transformers too: OpenCLIP's own files come first.
  const openclip = await firstOf(folder, [OPENCLIP])
  const openclipWeights = openclip && (await firstOf(folder, OPENCLIP_WEIGHTS))
  if (openclipWeights) {
    await readWeights(join(folder, openclipWeights), table, job.pace, job.opened)
    return openclipCheckpoint(folder, table, job)
  }
  if (await firstOf(folder, [HUGGING_FACE])) {
    const name = await firstOf(folder, HUGGING_FACE_WEIGHTS)
    if (!name)
      throw badCheckpoint(
        folder,
        HUGGING_FACE_WEIGHTS[0],
        `has ${HUGGING_FACE}, but no ${HUGGING_FACE_WEIGHTS.join(', ')}`,
      )
    if (name === INDEX) await readShards(folder, INDEX, table, job.pace, job.opened)
    else await readWeights(join(folder, name), table, job.pace, job.opened)
    return huggingFaceCheckpoint(folder, table, job)
  }
  if (openclip)
    throw badCheckpoint(folder, OPENCLIP_WEIGHTS[0], `has ${OPENCLIP}, but no ${OPENCLIP_WEIGHTS.join(', ')}`)
  throw badCheckpoint(folder, undefined, `is no model folder: it has neither ${HUGGING_FACE} nor ${OPENCLIP}`)
}

/** A weight file by itself. A configuration beside it is used where its tensors are of that configuration's family. */
export async function readSingleFile(path: string, job: Job): Promise<Checkpoint> {
  const table = new TensorTable()
  await readWeights(path, table, job.pace, job.opened)
  const folder = dirname(path)
  if (isHuggingFace(table)) {
    if (await firstOf(folder, [HUGGING_FACE])) return huggingFaceCheckpoint(folder, table, job)
    throw badConfig(
      path,
      HUGGING_FACE,
      `has transformers' tensors, but there is no ${HUGGING_FACE} beside it, which says how many heads it has: load the whole folder`,
    )
  }
  if (!isOpenaiLayout(table)) {
    const names = [...table.tensors.keys()].slice(0, 3).join(', ').slice(0, 300)
    throw badCheckpoint(
      path,
      undefined,
      `holds no CLIP: there are neither visual.* nor vision_model.* tensors (${names || 'none at all'})`,
    )
  }
  if (!isOpenaiOrigin(table) && (await firstOf(folder, [OPENCLIP])))
    return openclipCheckpoint(folder, table, job)
  return finish(table, job, openaiLayout(table, job))
}

type Parts = Omit<Checkpoint, 'fingerprint'>

async function finish(table: TensorTable, job: Job, parts: Promise<Parts>): Promise<Checkpoint> {
  const checkpoint = await parts
  return { ...checkpoint, fingerprint: await fingerprint(table, checkpoint.model, job.pace) }
}

async function openaiLayout(
  table: TensorTable,
  job: Job,
  config?: OpenclipSizes,
  preprocessFields?: Fields,
): Promise<Parts> {
  const { model, family } = await readOpenai(table, job.options, config)
  const imageSize = model.image?.imageSize ?? 0
  return {
    model,
    preprocess: config ? openclipPreprocess(preprocessFields, imageSize) : openaiPreprocess(imageSize),
    tokenizer: { contextLength: model.text?.contextLength ?? 0, pooling: 'argmax', family },
    family,
  }
}

async function openclipCheckpoint(folder: string, table: TensorTable, job: Job): Promise<Checkpoint> {
  const config = await readJsonFile(join(folder, OPENCLIP), job.pace.signal)
  const model = config.section('model_cfg')
  if (!model) throw config.wrong('model_cfg', 'an object')
  const parts = await openaiLayout(table, job, openclipSizes(model), config.section('preprocess_cfg'))
  // OpenCLIP's tokenizer is OpenAI's, whatever the folder holds for transformers; only a cut vocabulary needs the files.
  const own = parts.model.text?.vocabSize !== 49408
  const vocabulary = own ? await vocabularyOf(folder, job.pace) : undefined
  return finish(table, job, Promise.resolve({ ...parts, ...(vocabulary ? { vocabulary } : {}) }))
}

async function huggingFaceCheckpoint(folder: string, table: TensorTable, job: Job): Promise<Checkpoint> {
  const config = await readJsonFile(join(folder, HUGGING_FACE), job.pace.signal)
  const { model, tokenizer, endId } = await readHuggingFace(config, table, job.options)
  const preprocess = huggingFacePreprocess(
    await processorFields(folder, job.pace),
    model.image?.imageSize ?? 0,
  )
  const vocabulary = await vocabularyOf(folder, job.pace)
  const vocab = vocabulary?.vocab
  const vocabEnd = vocab instanceof Map ? vocab.get('<|endoftext|>') : vocab?.['<|endoftext|>']
  checkEndToken(config, endId, vocabEnd, model.text?.vocabSize ?? 0)
  return finish(
    table,
    job,
    Promise.resolve({
      model,
      preprocess,
      tokenizer,
      ...(vocabulary ? { vocabulary } : {}),
      family: 'huggingface',
    }),
  )
}

async function vocabularyOf(folder: string, pace: Pace): Promise<Checkpoint['vocabulary']> {
  const vocabulary = await readVocabulary(folder, pace.signal)
  pace.restart()
  return vocabulary
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
    'has neither preprocessor_config.json nor processor_config.json with `image_processor`: how pictures become the input of the model is unknown',
  )
}
