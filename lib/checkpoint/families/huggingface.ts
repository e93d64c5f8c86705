/** CLIPModel as transformers saves it: config.json, and tensors named text_model.*, vision_model.*. */

import { join } from 'node:path'
import type { ClipError } from '../../base/errors.js'
import { baseModel } from '../../base/known-models.js'
import {
  type Activation,
  type BlocksSpec,
  type ImageTowerSpec,
  imageSizeOf,
  type ModelSpec,
  type TextTowerSpec,
} from '../../native/spec.js'
import type { TokenizerSpec } from '../../tokenizer/spec.js'
import { badConfig, type Pace } from '../errors.js'
import { Fields, readJsonFile } from '../fields.js'
import { firstOf, HUGGING_FACE } from '../layouts.js'
import {
  activationWithoutConfig,
  agreedActivation,
  agreedHeads,
  checkDivides,
  headsWithoutConfig,
  type Tower,
} from '../options.js'
import { huggingFacePreprocess, inputSize, openaiPreprocess } from '../processor.js'
import { statPath } from '../source-file.js'
import type { Checkpoint, CheckpointOptions } from '../spec.js'
import { Picker, readLogitScale, type Size, type TensorTable, times } from '../tensors.js'
import { siblingOf, vocabularyOf } from '../vocabulary.js'
import type { Family } from './family.js'

/** Class names of transformers for a CLIP model, one of its towers, or one with another head. */
const ARCHITECTURES = [
  'CLIPModel',
  'CLIPVisionModel',
  'CLIPVisionModelWithProjection',
  'CLIPTextModel',
  'CLIPTextModelWithProjection',
  'CLIPForImageClassification',
]
/** Model types of configurations for a single tower. */
const TOWER_TYPES: Record<string, Tower> = { clip_vision_model: 'image', clip_text_model: 'text' }

/** Refuses the configurations of other models. */
function checkIsClip(config: Fields): void {
  const type = config.get('model_type')
  if (
    type !== undefined &&
    type !== 'clip' &&
    !(typeof type === 'string' && Object.hasOwn(TOWER_TYPES, type))
  )
    throw config.wrong('model_type', '"clip", "clip_vision_model" or "clip_text_model"')
  const architectures = config.get('architectures')
  if (architectures === undefined && type !== undefined) return
  if (
    !Array.isArray(architectures) ||
    !architectures.some(name => typeof name === 'string' && ARCHITECTURES.includes(name))
  )
    throw config.wrong('architectures', `one of ${ARCHITECTURES.join(', ')}`)
}

/** A tower's section; keys of the older `<key>_dict` win, as in transformers. */
function towerFields(config: Fields, which: Tower): Fields {
  const type = config.get('model_type')
  if (typeof type === 'string' && TOWER_TYPES[type] === which) return config
  const key = which === 'image' ? 'vision_config' : 'text_config'
  const section = config.section(key)?.object ?? []
  const old = config.section(`${key}_dict`)?.object ?? []
  return new Fields(config.file, new Map([...section, ...old]), key)
}

const ACTIVATIONS: Record<string, Activation> = { quick_gelu: 'quickGelu', gelu: 'gelu' }

/** transformers' CLIPTextConfig and CLIPVisionConfig: what an absent key means. */
const DEFAULTS = {
  text: { width: 512, mlp: 2048, layers: 12, heads: 8 },
  image: { width: 768, mlp: 3072, layers: 12, heads: 12 },
}

function sizeOf(fields: Fields, key: string, fallback: number, most?: number): Size {
  const field = fields.name(key)
  return {
    n: fields.integer(key, fallback, 1, most),
    from: `\`${field}\` in ${fields.file}`,
    config: { file: fields.file, field },
  }
}

interface TowerSizes {
  blocks: BlocksSpec
  width: Size
  mlp: Size
}

/** Sizes from the tensors, for a weight file without a configuration. */
function transformerOfTensors(picker: Picker, which: Tower, options: CheckpointOptions): TowerSizes {
  const { table } = picker
  const prefix = prefixOf(which)
  const width = picker.size(
    `${prefix}.${which === 'image' ? 'post_layernorm' : 'final_layer_norm'}.weight`,
    0,
    1,
  )
  const mlp = picker.size(`${prefix}.encoder.layers.0.mlp.fc1.weight`, 0, 2)
  const layers = table.count(`${prefix}.encoder.layers.`)
  const heads = headsWithoutConfig(table.where, which, width.n, false, options)
  checkDivides(table.where, 'heads', heads, width.n)
  const activation = activationWithoutConfig(table.where, false, options)
  return { blocks: { width: width.n, layers, heads, mlp: mlp.n, activation, layerNormEps: 1e-5 }, width, mlp }
}

function transformer(
  fields: Fields,
  which: Tower,
  table: TensorTable,
  options: CheckpointOptions,
): TowerSizes {
  const defaults = DEFAULTS[which]
  const width = sizeOf(fields, 'hidden_size', defaults.width)
  const mlp = sizeOf(fields, 'intermediate_size', defaults.mlp)
  const layers = fields.integer('num_hidden_layers', defaults.layers, 1, 1000)
  const stored = table.count(`${prefixOf(which)}.encoder.layers.`)
  if (stored !== layers)
    throw badConfig(
      fields.file,
      fields.name('num_hidden_layers'),
      `\`${fields.name('num_hidden_layers')}\` is ${layers}, but ${table.where} has ${stored} layers of ${prefixOf(which)}.encoder`,
      { expected: String(layers), actual: String(stored) },
    )
  const headsField = fields.name('num_attention_heads')
  const heads = agreedHeads(
    fields.file,
    headsField,
    fields.integer('num_attention_heads', defaults.heads, 1, 1024),
    options,
    which,
  )
  checkDivides(fields.file, headsField, heads, width.n)
  const act = fields.string('hidden_act', 'quick_gelu')
  if (!Object.hasOwn(ACTIVATIONS, act)) throw fields.wrong('hidden_act', '"quick_gelu" or "gelu"')
  const activation = agreedActivation(fields.file, fields.name('hidden_act'), ACTIVATIONS[act], options)
  const layerNormEps = fields.number('layer_norm_eps', 1e-5)
  if (!(layerNormEps >= 0 && layerNormEps < 1)) throw fields.wrong('layer_norm_eps', 'from 0 to 1')
  return { blocks: { width: width.n, layers, heads, mlp: mlp.n, activation, layerNormEps }, width, mlp }
}

function prefixOf(which: Tower): string {
  return which === 'image' ? 'vision_model' : 'text_model'
}

function takeBlocks(picker: Picker, which: Tower, { blocks, width, mlp }: TowerSizes): void {
  for (let i = 0; i < blocks.layers; ++i) {
    const from = `${prefixOf(which)}.encoder.layers.${i}`
    const to = `${which}.blocks.${i}`
    const linear = (canonical: string, name: string, out: Size, input: Size) => {
      picker.take(`${to}.${canonical}.weight`, `${from}.${name}.weight`, [out, input])
      picker.take(`${to}.${canonical}.bias`, `${from}.${name}.bias`, [out])
    }
    picker.takeNorm(`${to}.norm1`, `${from}.layer_norm1`, width)
    linear('query', 'self_attn.q_proj', width, width)
    linear('key', 'self_attn.k_proj', width, width)
    linear('value', 'self_attn.v_proj', width, width)
    linear('out', 'self_attn.out_proj', width, width)
    picker.takeNorm(`${to}.norm2`, `${from}.layer_norm2`, width)
    linear('fc1', 'mlp.fc1', mlp, width)
    linear('fc2', 'mlp.fc2', width, mlp)
  }
}

/** image_size and patch_size may be a number or two equal ones. */
function squareOf(fields: Fields, key: string, fallback: number): Size {
  const value = fields.get(key)
  if (!Array.isArray(value)) return sizeOf(fields, key, fallback, 1 << 14)
  if (value.length !== 2 || value[0] !== value[1]) throw fields.wrong(key, 'a number (images are square)')
  return sizeOf(new Fields(fields.file, new Map([[key, value[0]]]), fields.path), key, fallback, 1 << 14)
}

/** imageSize and patchSize from the configuration, or from the tensors. */
function imageSizes(picker: Picker, fields: Fields | undefined): { imageSize: Size; patch: Size } {
  if (fields) {
    if (fields.integer('num_channels', 3) !== 3) throw fields.wrong('num_channels', '3')
    const imageSize = squareOf(fields, 'image_size', 224)
    const patch = squareOf(fields, 'patch_size', 32)
    if (imageSize.n % patch.n !== 0)
      throw fields.wrong('image_size', `a multiple of \`patch_size\` ${patch.n}`)
    return { imageSize, patch }
  }
  const patch = picker.size('vision_model.embeddings.patch_embedding.weight', 2, 4)
  const positions = picker.size('vision_model.embeddings.position_embedding.weight', 0, 2)
  const grid = Math.round(Math.sqrt(Math.max(0, positions.n - 1)))
  return { imageSize: { ...times(patch, grid), from: `${grid} patches of ${patch.n}` }, patch }
}

/** A tower's part of the configuration, and its sizes: from there, or from the tensors where there is no configuration. */
function towerOf(
  picker: Picker,
  config: Fields | undefined,
  which: Tower,
  options: CheckpointOptions,
): { fields: Fields | undefined; tower: TowerSizes } {
  const fields = config && towerFields(config, which)
  const tower = fields
    ? transformer(fields, which, picker.table, options)
    : transformerOfTensors(picker, which, options)
  return { fields, tower }
}

/** Takes the image tower, with its projection if there is one. */
function takeImage(
  picker: Picker,
  config: Fields | undefined,
  embed: Size | undefined,
  options: CheckpointOptions,
): ImageTowerSpec {
  const { fields, tower: image } = towerOf(picker, config, 'image', options)
  const { imageSize, patch } = imageSizes(picker, fields)
  const positions: Size = {
    ...imageSize,
    n: (imageSize.n / patch.n) ** 2 + 1,
    from: `1 + (${imageSize.n} / ${patch.n}) ** 2: image_size and patch_size in ${config?.file ?? picker.table.where}`,
  }
  const v = 'vision_model'
  picker.take('image.class', `${v}.embeddings.class_embedding`, [image.width])
  picker.take('image.patch.weight', `${v}.embeddings.patch_embedding.weight`, [image.width, 3, patch, patch])
  picker.take('image.position', `${v}.embeddings.position_embedding.weight`, [positions, image.width])
  picker.takeNorm('image.preNorm', `${v}.pre_layrnorm`, image.width) // this misspelling is in every checkpoint
  takeBlocks(picker, 'image', image)
  picker.takeNorm('image.postNorm', `${v}.post_layernorm`, image.width)
  const project = embed !== undefined && picker.has('visual_projection.weight')
  if (project) picker.take('image.projection', 'visual_projection.weight', [embed, image.width])
  return {
    kind: 'transformer',
    embed: { kind: 'patches', imageSize: imageSize.n, patchSize: patch.n },
    preNorm: true,
    mask: 'full',
    blocks: image.blocks,
    pool: 'first',
    project,
  }
}

/** Takes the text tower, with its projection if there is one. */
function takeText(
  picker: Picker,
  config: Fields | undefined,
  embed: Size | undefined,
  options: CheckpointOptions,
): TextTowerSpec {
  const { fields, tower: text } = towerOf(picker, config, 'text', options)
  const t = 'text_model'
  const tokens = `${t}.embeddings.token_embedding.weight`
  const positions = `${t}.embeddings.position_embedding.weight`
  const context = fields
    ? sizeOf(fields, 'max_position_embeddings', 77, 1 << 16)
    : picker.size(positions, 0, 2)
  const vocab = fields ? sizeOf(fields, 'vocab_size', 49408) : picker.size(tokens, 0, 2)
  picker.take('text.token', tokens, [vocab, text.width])
  picker.take('text.position', positions, [context, text.width])
  takeBlocks(picker, 'text', text)
  picker.takeNorm('text.finalNorm', `${t}.final_layer_norm`, text.width)
  const project = embed !== undefined && picker.has('text_projection.weight')
  if (project) picker.take('text.projection', 'text_projection.weight', [embed, text.width])
  const endId = fields?.integer('eos_token_id', 49407, 0) ?? vocab.n - 1
  // As in transformers: older configurations have 2 here instead of the real end token.
  const pool = endId === 2 ? 'argmax' : 'eos'
  return {
    kind: 'transformer',
    embed: {
      kind: 'tokens',
      vocabSize: vocab.n,
      contextLength: context.n,
      ...(pool === 'eos' ? { endId } : {}),
    },
    preNorm: false,
    mask: 'causal',
    blocks: text.blocks,
    pool,
    project,
  }
}

/** The width of the joint space; undefined without a projection into one. */
function embedSize(picker: Picker, config: Fields | undefined): Size | undefined {
  const names = ['visual_projection.weight', 'text_projection.weight'].filter(name => picker.has(name))
  if (names.length === 0) return undefined
  return config ? sizeOf(config, 'projection_dim', 512) : picker.size(names[0]!, 0, 2)
}

/** The towers that the tensors belong to. */
function huggingFaceTowers(table: TensorTable): Tower[] {
  const names = [...table.tensors.keys()]
  return (['image', 'text'] as const).filter(which =>
    names.some(name => name.startsWith(`${prefixOf(which)}.`)),
  )
}

/** Everything except preprocessing and the vocabulary. Without a configuration, sizes come from the tensors. */
async function readHuggingFace(
  config: Fields | undefined,
  table: TensorTable,
  options: CheckpointOptions,
): Promise<{ model: ModelSpec; tokenizer: TokenizerSpec }> {
  if (config) checkIsClip(config)
  const picker = new Picker(table)
  const embed = embedSize(picker, config)
  const towers = huggingFaceTowers(table)
  const image = towers.includes('image') ? takeImage(picker, config, embed, options) : undefined
  const text = towers.includes('text') ? takeText(picker, config, embed, options) : undefined

  // Indices 0, 1, 2, ... that older versions saved as a buffer.
  picker.ignore(/^(text|vision)_model\.embeddings\.position_ids$/)
  const scale = await readLogitScale(picker)
  picker.finish(name => /^((vision|text)_model|visual_projection|text_projection)\.|^logit_bias$/.test(name))

  return {
    model: {
      files: table.files.map(f => f.path),
      fileBytes: table.files.map(f => f.bytes),
      embedDim: embed?.n ?? 0,
      ...(scale === undefined ? {} : { scoring: { kind: 'softmax', scale } }),
      ...(image ? { image } : {}),
      ...(text ? { text } : {}),
      tensors: picker.picked,
    },
    tokenizer: { kind: 'bpe', contextLength: text?.embed.contextLength ?? 0, family: 'huggingface' },
  }
}

/** With first-position pooling, the end token must be the one that the configuration names. */
function checkEndToken(
  config: Fields,
  { pool, embed: { endId, vocabSize } }: TextTowerSpec,
  vocabEnd: number | undefined,
): void {
  if (pool !== 'eos' || endId === undefined) return
  if (endId >= vocabSize)
    throw badConfig(
      config.file,
      'text_config.eos_token_id',
      `\`text_config.eos_token_id\` ${endId} is not below \`text_config.vocab_size\` ${vocabSize}`,
    )
  if (vocabEnd !== undefined && vocabEnd !== endId)
    throw badConfig(
      config.file,
      'text_config.eos_token_id',
      `\`text_config.eos_token_id\` is ${endId}, but the vocabulary's <|endoftext|> is ${vocabEnd}`,
      {
        expected: String(vocabEnd),
        actual: String(endId),
      },
    )
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

export const huggingface: Family = {
  recognise: ({ layout }) => layout === 'huggingface',
  async read({ table, folder, toldBy, options, pace }) {
    const config = (await firstOf(folder, [HUGGING_FACE]))
      ? await readJsonFile(join(folder, HUGGING_FACE), pace.signal)
      : undefined
    const type = config?.get('model_type')
    // A single file does not necessarily belong to the files beside it.
    if (!config || (toldBy === undefined && !(typeof type === 'string' && type.startsWith('clip'))))
      return withoutConfiguration(table, options)
    const { model, tokenizer } = await readHuggingFace(config, table, options)
    const fields = model.image ? await processorFields(folder, pace) : undefined
    const size = inputSize(model)
    const vocabulary = model.text ? await vocabularyOf(folder, pace) : undefined
    const vocab = vocabulary?.vocab
    const vocabEnd = vocab instanceof Map ? vocab.get('<|endoftext|>') : vocab?.['<|endoftext|>']
    if (model.text) checkEndToken(config, model.text, vocabEnd)
    return {
      model,
      preprocess: fields ? huggingFacePreprocess(fields, size) : openaiPreprocess(size),
      tokenizer,
      ...(vocabulary ? { vocabulary } : {}),
      ...(model.image && !fields ? { unknownPreprocess: noProcessor(folder, config, model.image) } : {}),
      family: 'huggingface',
      ignored: table.ignored,
    }
  },
}

/** Tensors of transformers without a configuration: sizes come from the tensors, the rest as for OpenAI's files. */
async function withoutConfiguration(table: TensorTable, options: CheckpointOptions): Promise<Checkpoint> {
  const { model, tokenizer } = await readHuggingFace(undefined, table, options)
  const preprocess = openaiPreprocess(inputSize(model))
  return { model, preprocess, tokenizer, family: 'huggingface', ignored: table.ignored }
}
