/** CLIPModel, SiglipModel and their relatives as transformers saves them: config.json, and tensors named text_model.*, vision_model.*. */

import { join } from 'node:path'
import { ClipError } from '../../base/errors.js'
import { baseModel } from '../../base/known-models.js'
import {
  type Activation,
  type BlocksSpec,
  type ImageTowerSpec,
  imageSizeOf,
  type ModelSpec,
  type PatchEmbed,
  type TextTowerSpec,
  type TransformerSpec,
} from '../../native/spec.js'
import type { FileTokenizerSpec, TokenizerSpec } from '../../tokenizer/spec.js'
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
import { Picker, readScoring, type Size, type TensorTable, times } from '../tensors.js'
import { ENCODER_TOKENS, type EncoderKind, firstPosition, takeEncoder } from '../text-encoders.js'
import { defaultPadId, padIdOf, siblingOf, tokenizerOf, vocabularyOf } from '../vocabulary.js'
import type { Family } from './family.js'

/** A kind of model of transformers, which `model_type` names. */
interface Kind {
  /** Class names for the model, one of its towers, or one with another head. */
  architectures: readonly string[]
  /** Model types of configurations for a single tower. */
  towers: Record<Tower, string>
  /** The meaning of an absent key of a tower's configuration. */
  defaults: Record<Tower, { width: number; mlp: number; layers: number; heads: number }>
  activation: string
  eps: number
  patch: number
  context: number
  vocab: number
  end: number
  /** The width of the joint space. */
  embed: number
  /** A text encoder that is not CLIP's, below this prefix. */
  encoder?: { kind: EncoderKind; prefix: string; activation: string; eps: number; padId: number }
}

const clip: Kind = {
  architectures: [
    'CLIPModel',
    'CLIPVisionModel',
    'CLIPVisionModelWithProjection',
    'CLIPTextModel',
    'CLIPTextModelWithProjection',
    'CLIPForImageClassification',
  ],
  towers: { image: 'clip_vision_model', text: 'clip_text_model' },
  defaults: {
    text: { width: 512, mlp: 2048, layers: 12, heads: 8 },
    image: { width: 768, mlp: 3072, layers: 12, heads: 12 },
  },
  activation: 'quick_gelu',
  eps: 1e-5,
  patch: 32,
  context: 77,
  vocab: 49408,
  end: 49407,
  embed: 512,
}

const kinds: Record<'clip' | 'metaclip_2' | 'siglip' | 'chinese_clip' | 'altclip', Kind> = {
  clip,
  // The tensors of CLIP; texts are pooled at the first end token, whatever its id.
  metaclip_2: {
    ...clip,
    architectures: [
      'MetaClip2Model',
      'MetaClip2VisionModel',
      'MetaClip2VisionModelWithProjection',
      'MetaClip2TextModel',
      'MetaClip2TextModelWithProjection',
      'MetaClip2ForImageClassification',
    ],
    towers: { image: 'metaclip_2_vision_model', text: 'metaclip_2_text_model' },
  },
  siglip: {
    architectures: ['SiglipModel', 'SiglipVisionModel', 'SiglipTextModel', 'SiglipForImageClassification'],
    towers: { image: 'siglip_vision_model', text: 'siglip_text_model' },
    defaults: {
      text: { width: 768, mlp: 3072, layers: 12, heads: 12 },
      image: { width: 768, mlp: 3072, layers: 12, heads: 12 },
    },
    activation: 'gelu_pytorch_tanh',
    eps: 1e-6,
    patch: 16,
    context: 64,
    vocab: 32000,
    end: 49407,
    embed: 768,
  },
  // CLIP's images; texts are the first token of BERT, without BERT's own pooler.
  chinese_clip: {
    ...clip,
    architectures: ['ChineseCLIPModel'],
    towers: { image: 'chinese_clip_vision_model', text: 'chinese_clip_text_model' },
    defaults: {
      text: { width: 768, mlp: 3072, layers: 12, heads: 12 },
      image: clip.defaults.image,
    },
    context: 512,
    vocab: 30522,
    end: 0,
    encoder: { kind: 'bert', prefix: 'text_model.', activation: 'gelu', eps: 1e-12, padId: 0 },
  },
  // CLIP's images; texts are the first token of XLM-R, a layer norm and two linear layers.
  altclip: {
    ...clip,
    architectures: ['AltCLIPModel'],
    towers: { image: 'altclip_vision_model', text: 'altclip_text_model' },
    defaults: {
      text: { width: 1024, mlp: 4096, layers: 24, heads: 16 },
      image: clip.defaults.image,
    },
    context: 514,
    vocab: 250002,
    end: 2,
    embed: 768,
    encoder: { kind: 'roberta', prefix: 'text_model.roberta.', activation: 'gelu', eps: 1e-5, padId: 1 },
  },
}

/** The beginning of the names of a tower's layers. transformers 5 writes AltCLIP's images with `layer` in place of `layers`. */
function layersOf(table: TensorTable, kind: Kind, which: Tower): string {
  if (which === 'text' && kind.encoder) return `${kind.encoder.prefix}encoder.layer.`
  const usual = `${prefixOf(which)}.encoder.layers.`
  return kind === kinds.altclip && table.count(usual) === 0 ? `${prefixOf(which)}.encoder.layer.` : usual
}

/** The kind that a configuration names; undefined for those of other models. */
function kindOf(config: Fields): keyof typeof kinds | undefined {
  const type = config.get('model_type')
  const names = Object.keys(kinds) as (keyof typeof kinds)[]
  return names.find(name => type === name || Object.values(kinds[name].towers).some(tower => type === tower))
}

/** Refuses the configurations of other models. Old configurations of CLIP have no model_type. */
function checkKind(config: Fields): keyof typeof kinds {
  const type = config.get('model_type')
  const kind = type === undefined ? 'clip' : kindOf(config)
  if (type === 'siglip2')
    throw badConfig(
      config.file,
      'model_type',
      '`model_type` "siglip2" is a model for images of any shape (NaFlex), which is not implemented. The models of SigLIP 2 with a fixed image size are: for example google/siglip2-base-patch16-224',
      { actual: '"siglip2"' },
    )
  if (!kind) {
    const types = Object.entries(kinds).flatMap(([name, { towers }]) => [name, towers.image, towers.text])
    throw config.wrong('model_type', types.map(name => `"${name}"`).join(', '))
  }
  const architectures = config.get('architectures')
  if (architectures === undefined && type !== undefined) return kind
  const known = kinds[kind].architectures
  if (
    !Array.isArray(architectures) ||
    !architectures.some(name => typeof name === 'string' && known.includes(name))
  )
    throw config.wrong('architectures', `one of ${known.join(', ')}`)
  return kind
}

/** A tower's section; keys of the older `<key>_dict` win, as in transformers. */
function towerFields(config: Fields, which: Tower): Fields {
  const type = config.get('model_type')
  if (Object.values(kinds).some(({ towers }) => type === towers[which])) return config
  const key = which === 'image' ? 'vision_config' : 'text_config'
  const section = config.section(key)?.object ?? []
  const old = config.section(`${key}_dict`)?.object ?? []
  return new Fields(config.file, new Map([...section, ...old]), key)
}

const ACTIVATIONS: Record<string, Activation> = {
  quick_gelu: 'quickGelu',
  gelu: 'gelu',
  gelu_pytorch_tanh: 'geluTanh',
  gelu_new: 'geluTanh',
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
  kind: Kind,
  which: Tower,
  table: TensorTable,
  options: CheckpointOptions,
): TowerSizes {
  const defaults = kind.defaults[which]
  const width = sizeOf(fields, 'hidden_size', defaults.width)
  const mlp = sizeOf(fields, 'intermediate_size', defaults.mlp)
  const layers = fields.integer('num_hidden_layers', defaults.layers, 1, 1000)
  const stored = table.count(layersOf(table, kind, which))
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
  const encoder = which === 'text' ? kind.encoder : undefined
  const act = fields.string('hidden_act', encoder?.activation ?? kind.activation)
  if (!Object.hasOwn(ACTIVATIONS, act))
    throw fields.wrong('hidden_act', '"quick_gelu", "gelu" or "gelu_pytorch_tanh"')
  const activation = agreedActivation(fields.file, fields.name('hidden_act'), ACTIVATIONS[act], options)
  const layerNormEps = fields.number('layer_norm_eps', encoder?.eps ?? kind.eps)
  if (!(layerNormEps >= 0 && layerNormEps < 1)) throw fields.wrong('layer_norm_eps', 'from 0 to 1')
  return { blocks: { width: width.n, layers, heads, mlp: mlp.n, activation, layerNormEps }, width, mlp }
}

function prefixOf(which: Tower): string {
  return which === 'image' ? 'vision_model' : 'text_model'
}

function takeBlocks({ picker, kind }: Reading, which: Tower, { blocks, width, mlp }: TowerSizes): void {
  const layers = layersOf(picker.table, kind, which)
  for (let i = 0; i < blocks.layers; ++i) {
    const from = `${layers}${i}`
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
function imageSizes({ picker, kind }: Reading, fields: Fields | undefined): { imageSize: Size; patch: Size } {
  if (fields) {
    if (fields.integer('num_channels', 3) !== 3) throw fields.wrong('num_channels', '3')
    const imageSize = squareOf(fields, 'image_size', 224)
    const patch = squareOf(fields, 'patch_size', kind.patch)
    // SigLIP's convolution ignores the remaining pixels at the right and at the bottom.
    if (imageSize.n % patch.n !== 0 && (kind !== kinds.siglip || imageSize.n < patch.n))
      throw fields.wrong('image_size', `a multiple of \`patch_size\` ${patch.n}`)
    return { imageSize, patch }
  }
  const patch = picker.size('vision_model.embeddings.patch_embedding.weight', 2, 4)
  const positions = picker.size('vision_model.embeddings.position_embedding.weight', 0, 2)
  const grid = Math.round(Math.sqrt(Math.max(0, positions.n - 1)))
  return { imageSize: { ...times(patch, grid), from: `${grid} patches of ${patch.n}` }, patch }
}

/** The source that the functions below read from. */
interface Reading {
  picker: Picker
  config: Fields | undefined
  kind: Kind
  options: CheckpointOptions
}

/** A tower's part of the configuration, and its sizes: from there, or from the tensors where there is no configuration. */
function towerOf(
  { picker, config, kind, options }: Reading,
  which: Tower,
): { fields: Fields | undefined; tower: TowerSizes } {
  const fields = config && towerFields(config, which)
  const tower = fields
    ? transformer(fields, kind, which, picker.table, options)
    : transformerOfTensors(picker, which, options)
  return { fields, tower }
}

/** Takes the image tower, with its projection if there is one. */
function takeImage(from: Reading, embed: Size | undefined): TransformerSpec<PatchEmbed> {
  const { picker, config, kind } = from
  const classToken = kind !== kinds.siglip
  const { fields, tower: image } = towerOf(from, 'image')
  const { imageSize, patch } = imageSizes(from, fields)
  const one = classToken ? '1 + ' : ''
  const positions: Size = {
    ...imageSize,
    n: Math.floor(imageSize.n / patch.n) ** 2 + (classToken ? 1 : 0),
    from: `${one}(${imageSize.n} / ${patch.n}) ** 2: image_size and patch_size in ${config?.file ?? picker.table.where}`,
  }
  const v = 'vision_model'
  if (classToken) picker.take('image.class', `${v}.embeddings.class_embedding`, [image.width])
  picker.take('image.patch.weight', `${v}.embeddings.patch_embedding.weight`, [image.width, 3, patch, patch])
  if (!classToken) picker.take('image.patch.bias', `${v}.embeddings.patch_embedding.bias`, [image.width])
  picker.take('image.position', `${v}.embeddings.position_embedding.weight`, [positions, image.width])
  if (classToken) picker.takeNorm('image.preNorm', `${v}.pre_layrnorm`, image.width) // this misspelling is in every checkpoint
  takeBlocks(from, 'image', image)
  picker.takeNorm('image.postNorm', `${v}.post_layernorm`, image.width)
  const tower = {
    kind: 'transformer',
    embed: { kind: 'patches', imageSize: imageSize.n, patchSize: patch.n, classToken },
    preNorm: classToken,
    mask: 'full',
    blocks: image.blocks,
  } as const
  if (!classToken) {
    takeAttentionPool(picker, image)
    const { heads, mlp } = image.blocks
    return { ...tower, pool: 'attention', attentionPool: { heads, mlp }, project: 'identity' }
  }
  const project = embed !== undefined && picker.has('visual_projection.weight')
  if (project) picker.take('image.projection', 'visual_projection.weight', [embed, image.width])
  return { ...tower, pool: 'first', project: project ? 'matrix' : 'none' }
}

/** SiglipMultiheadAttentionPoolingHead: its attention is that of torch, and its layer norm comes before the MLP. */
function takeAttentionPool(picker: Picker, { width, mlp }: TowerSizes): void {
  const head = 'vision_model.head'
  const parts = ['query', 'key', 'value'].map(part => `image.pool.${part}`)
  const attention = `${head}.attention`
  picker.takeRow('image.pool.latent', `${head}.probe`, 2, [width])
  picker.takeParts(
    parts.map(part => `${part}.weight`),
    `${attention}.in_proj_weight`,
    [times(width, 3), width],
  )
  picker.takeParts(
    parts.map(part => `${part}.bias`),
    `${attention}.in_proj_bias`,
    [times(width, 3)],
  )
  picker.takeLinear('image.pool.out', `${attention}.out_proj`, width, width)
  picker.takeNorm('image.pool.norm', `${head}.layernorm`, width)
  picker.takeLinear('image.pool.fc1', `${head}.mlp.fc1`, mlp, width)
  picker.takeLinear('image.pool.fc2', `${head}.mlp.fc2`, width, mlp)
}

/** Takes the text tower, with its projection if there is one. `padId` pads the texts of SigLIP. */
function takeText(from: Reading, embed: Size | undefined, padId: number): TextTowerSpec {
  const { picker, kind } = from
  const { fields, tower: text } = towerOf(from, 'text')
  if (kind.encoder && fields) return takeEncoderText(from, fields, text, embed!)
  const t = 'text_model'
  const tokens = `${t}.embeddings.token_embedding.weight`
  const positions = `${t}.embeddings.position_embedding.weight`
  const context = fields
    ? sizeOf(fields, 'max_position_embeddings', kind.context, 1 << 16)
    : picker.size(positions, 0, 2)
  const vocab = fields ? sizeOf(fields, 'vocab_size', kind.vocab) : picker.size(tokens, 0, 2)
  picker.take('text.token', tokens, [vocab, text.width])
  picker.take('text.position', positions, [context, text.width])
  takeBlocks(from, 'text', text)
  picker.takeNorm('text.finalNorm', `${t}.final_layer_norm`, text.width)
  const sizes = { kind: 'tokens', vocabSize: vocab.n, contextLength: context.n } as const
  const tower = { kind: 'transformer', preNorm: false, blocks: text.blocks } as const
  if (kind === kinds.siglip) {
    picker.take('text.projection', `${t}.head.weight`, [embed!, text.width])
    picker.take('text.projection.bias', `${t}.head.bias`, [embed!])
    return { ...tower, embed: { ...sizes, padId }, mask: 'full', pool: 'last', project: 'matrix' }
  }
  const project = embed !== undefined && picker.has('text_projection.weight')
  if (project) picker.take('text.projection', 'text_projection.weight', [embed, text.width])
  const endId = fields?.integer('eos_token_id', kind.end, 0) ?? vocab.n - 1
  // As in transformers: older configurations of CLIP have 2 here instead of the real end token.
  const pool = endId === 2 && kind === kinds.clip ? 'argmax' : 'eos'
  return {
    ...tower,
    embed: { ...sizes, ...(pool === 'eos' ? { endId } : {}) },
    mask: 'causal',
    pool,
    project: project ? 'matrix' : 'none',
  }
}

/** Takes a text tower with another encoder than CLIP's, pooled at its first token. */
function takeEncoderText(
  { picker, kind }: Reading,
  fields: Fields,
  { blocks, width, mlp }: TowerSizes,
  embed: Size,
): TextTowerSpec {
  const encoder = kind.encoder!
  const padId = fields.integer('pad_token_id', encoder.padId, 0)
  // Position ids of RoBERTa begin after the id of the pad token.
  if (encoder.kind === 'roberta' && padId !== encoder.padId)
    throw fields.wrong('pad_token_id', String(encoder.padId))
  const positions = sizeOf(fields, 'max_position_embeddings', kind.context, 1 << 16)
  const context = { ...positions, n: positions.n - firstPosition(encoder.kind) }
  if (context.n < 1) throw fields.wrong('max_position_embeddings', `more than ${firstPosition(encoder.kind)}`)
  const vocab = sizeOf(fields, 'vocab_size', kind.vocab)
  const sizes = { blocks, width, mlp, vocab, context, positions }
  const tower = takeEncoder(picker, encoder.kind, encoder.prefix, sizes, padId)
  if (kind !== kinds.altclip) {
    picker.take('text.projection', 'text_projection.weight', [embed, width])
    return { ...tower, pool: 'first', finalNorm: false, project: 'matrix' }
  }
  const hidden = sizeOf(fields, 'project_dim', 768)
  picker.takeNorm('text.finalNorm', 'text_model.pre_LN', width)
  picker.takeLinear('text.projection.hidden', 'text_model.transformation', hidden, width)
  picker.take('text.projection', 'text_projection.weight', [embed, hidden])
  return {
    ...tower,
    pool: 'first',
    project: 'mlp',
    projectionMlp: { hidden: hidden.n, activation: 'none' },
  }
}

/** The width of the joint space; undefined without a projection into one. */
function embedSize({ picker, config, kind }: Reading): Size | undefined {
  if (kind === kinds.siglip) {
    if (picker.has('text_model.head.weight')) return picker.size('text_model.head.weight', 0, 2)
    return picker.size('vision_model.post_layernorm.weight', 0, 1)
  }
  const names = ['visual_projection.weight', 'text_projection.weight'].filter(name => picker.has(name))
  // Encoders other than CLIP's always have one.
  if (names.length === 0 && !kind.encoder) return undefined
  return config ? sizeOf(config, 'projection_dim', kind.embed) : picker.size(names[0]!, 0, 2)
}

/** The towers that the tensors belong to. */
function huggingFaceTowers(table: TensorTable): Tower[] {
  const names = [...table.tensors.keys()]
  return (['image', 'text'] as const).filter(which =>
    names.some(name => name.startsWith(`${prefixOf(which)}.`)),
  )
}

/** The kind of a model without a configuration, by tensors that only it has. */
function kindOfTensors(table: TensorTable): keyof typeof kinds {
  if (table.tensors.has('vision_model.head.probe') || table.tensors.has('text_model.head.weight'))
    return 'siglip'
  for (const [name, { encoder }] of Object.entries(kinds) as [keyof typeof kinds, Kind][])
    if (encoder && table.tensors.has(encoder.prefix + ENCODER_TOKENS[encoder.kind])) return name
  return 'clip'
}

const titles: Partial<Record<keyof typeof kinds, string>> = {
  siglip: 'a SigLIP',
  chinese_clip: 'a Chinese-CLIP',
  altclip: 'an AltCLIP',
}

/** Everything except preprocessing and the vocabulary. Without a configuration, sizes come from the tensors. */
async function readHuggingFace(
  config: Fields | undefined,
  table: TensorTable,
  options: CheckpointOptions,
  padId = 0,
): Promise<ModelSpec> {
  const name = config ? checkKind(config) : kindOfTensors(table)
  const kind = kinds[name]
  if (!config && titles[name])
    throw badConfig(
      table.where,
      HUGGING_FACE,
      `is ${titles[name]} without its configuration: put config.json of the model beside it, and its preprocessor_config.json`,
      { expected: HUGGING_FACE },
    )
  const picker = new Picker(table)
  const from: Reading = { picker, config, kind, options }
  const embed = embedSize(from)
  const towers = huggingFaceTowers(table)
  const image = towers.includes('image') ? takeImage(from, embed) : undefined
  const text = towers.includes('text') ? takeText(from, embed, padId) : undefined
  if (image?.project === 'identity' && image.blocks.width !== embed!.n)
    throw badConfig(
      config!.file,
      'text_config.projection_size',
      `the embeddings of images have ${image.blocks.width} numbers, but those of texts ${embed!.n} (${embed!.from})`,
    )

  // Indices 0, 1, 2, ... that older versions saved as a buffer.
  picker.ignore(/^(text|vision)_model\.embeddings\.position_ids$/)
  const scoring = await readScoring(picker, kind === kinds.siglip)
  picker.finish(name => /^((vision|text)_model|visual_projection|text_projection)\./.test(name))

  return {
    files: table.files.map(f => f.path),
    fileBytes: table.files.map(f => f.bytes),
    embedDim: embed?.n ?? 0,
    ...(scoring ? { scoring } : {}),
    ...(image ? { image } : {}),
    ...(text ? { text } : {}),
    tensors: picker.picked,
  }
}

/** A tokenizer of another kind than CLIP's, from the files of the folder, or the reason why there is none. */
async function fileTokenizer(
  config: Fields,
  kind: Kind,
  folder: string,
  pace: Pace,
): Promise<{ found?: Omit<FileTokenizerSpec, 'contextLength'>; padId: number; unknown?: ClipError }> {
  const vocab = towerFields(config, 'text').integer('vocab_size', kind.vocab)
  // In a diffusers pipeline, the tokenizer of a component is in a folder beside it.
  const beside = siblingOf(folder, /^text_encoder/, 'tokenizer')
  let padId = defaultPadId(vocab)
  try {
    const place = (await firstOf(folder, ['tokenizer_config.json'])) ? folder : beside
    padId = await padIdOf(place, pace, padId)
    const found = await tokenizerOf(place, pace)
    if (found) {
      return { found: { kind: 'file', ...found, cleaning: 'none', padId }, padId }
    }
  } catch (error) {
    if (!(error instanceof ClipError) || error.code !== 'ERR_CLIP_CONFIG') throw error
    return { padId, unknown: error }
  }
  return {
    padId,
    unknown: badConfig(
      folder,
      'tokenizer.json',
      "has no tokenizer: copy tokenizer.json and tokenizer_config.json (or spiece.model) of the model into it, or load only the image tower: `towers: ['image']`",
      { expected: 'tokenizer.json', actual: 'none' },
    ),
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
  const clip = kindOf(config) === 'clip' || kindOf(config) === undefined
  // The files of other kinds differ from model to model of the same sizes: SigLIP's bicubic and SigLIP 2's bilinear.
  const copy = clip
    ? `: cp "$(npx clip-native download ${baseModel(config.get('_name_or_path'), patch, imageSizeOf(image))})/preprocessor_config.json" "${folder}"`
    : ''
  return badConfig(
    folder,
    'preprocessor_config.json',
    'has neither preprocessor_config.json nor processor_config.json with `image_processor`, so how images become the input of the model is unknown. ' +
      `Copy preprocessor_config.json from the model that this one was trained from${copy}; or load only the text tower: \`towers: ['text']\``,
    { expected: 'preprocessor_config.json' },
  )
}

export const huggingface: Family = {
  recognise: ({ layout }) => layout === 'huggingface',
  async read({ table, folder, toldBy, options, pace }) {
    const config = (await firstOf(folder, [HUGGING_FACE]))
      ? await readJsonFile(join(folder, HUGGING_FACE), pace.signal)
      : undefined
    // A single file does not necessarily belong to the files beside it.
    if (!config || (toldBy === undefined && kindOf(config) === undefined))
      return withoutConfiguration(table, options)
    const kind = kinds[checkKind(config)]
    const own = kind === kinds.clip ? undefined : await fileTokenizer(config, kind, folder, pace)
    const model = await readHuggingFace(config, table, options, own?.padId)
    const fields = model.image ? await processorFields(folder, pace) : undefined
    const size = inputSize(model)
    const vocabulary = model.text && !own ? await vocabularyOf(folder, pace) : undefined
    const vocab = vocabulary?.vocab
    const vocabEnd = vocab instanceof Map ? vocab.get('<|endoftext|>') : vocab?.['<|endoftext|>']
    if (model.text) checkEndToken(config, model.text, vocabEnd)
    const contextLength = model.text?.embed.contextLength ?? 0
    return {
      model,
      preprocess: fields ? huggingFacePreprocess(fields, size) : openaiPreprocess(size),
      tokenizer: own?.found
        ? { ...own.found, contextLength }
        : { kind: 'bpe', contextLength, family: 'huggingface' },
      ...(vocabulary ? { vocabulary } : {}),
      ...(model.image && !fields ? { unknownPreprocess: noProcessor(folder, config, model.image) } : {}),
      ...(model.text && own?.unknown ? { unknownTokenizer: own.unknown } : {}),
      family: 'huggingface',
      ignored: table.ignored,
    }
  },
}

/** Tensors of transformers without a configuration: sizes come from the tensors, the rest as for OpenAI's files. */
async function withoutConfiguration(table: TensorTable, options: CheckpointOptions): Promise<Checkpoint> {
  const model = await readHuggingFace(undefined, table, options)
  const contextLength = model.text?.embed.contextLength ?? 0
  const tokenizer: TokenizerSpec = { kind: 'bpe', contextLength, family: 'huggingface' }
  const preprocess = openaiPreprocess(inputSize(model))
  return { model, preprocess, tokenizer, family: 'huggingface', ignored: table.ignored }
}
