/** OpenCLIP: weights with an open_clip_config.json, {model_cfg, preprocess_cfg}. Unknown keys are refused by name. */

import { join } from 'node:path'
import { ClipError } from '../../base/errors.js'
import type { Json } from '../../base/json.js'
import type { Activation } from '../../native/spec.js'
import type { TokenizerSpec } from '../../tokenizer/spec.js'
import { convNextTower } from '../conv-next.js'
import { badConfig, type Pace } from '../errors.js'
import { Fields, kindOfJson, readJsonFile } from '../fields.js'
import { firstOf, HUGGING_FACE, OPENCLIP } from '../layouts.js'
import { isOpenaiOrigin, readOpenaiLayout } from '../openai-layout.js'
import type { OpenclipSizes } from '../openclip-sizes.js'
import { inputSize, openclipPreprocess } from '../processor.js'
import type { Size } from '../tensors.js'
import { encoderNamed, type OpenclipEncoder } from '../text-encoders.js'
import { timmTower } from '../timm.js'
import { defaultPadId, tokenizerOf as fileTokenizerOf, padIdOf, vocabularyOf } from '../vocabulary.js'
import type { Family } from './family.js'

/** Keys of a transformer's blocks that change the arithmetic, with the values that are implemented. */
const BLOCK: Record<string, Json[]> = {
  act_kwargs: [],
  norm_kwargs: [],
  block_type: ['default'],
  qk_norm: [false],
  scaled_cosine_attn: [false],
  scale_heads: [false],
  scale_attn_inner: [false],
  scale_attn: [false],
  scale_fc: [false],
}

/** The same for text towers, whose keyword arguments of norms and activations are read. */
const { act_kwargs: _act, norm_kwargs: _norm, ...TEXT_BLOCK } = BLOCK

/** Keys that change the arithmetic, with the values that are implemented: open_clip's defaults first. */
const UNCHANGED: Record<'model' | 'image' | 'text', Record<string, Json[]>> = {
  model: { multimodal_cfg: [], custom_text: [true, false] },
  image: {
    attentional_pool: [false],
    no_ln_pre: [false, true],
    pos_embed_type: ['learnable'],
    final_ln_after_pool: [false, true],
    pool_type: ['tok', 'avg'],
    output_tokens: [false],
    ...BLOCK,
  },
  text: {
    tokenizer_mode: ['clean'],
    ls_init_value: [],
    embed_cls: [false],
    no_causal_mask: [false, true],
    final_ln_after_pool: [false],
    pool_type: ['argmax', 'last', 'eos'],
    proj_type: ['linear', 'none'],
    output_tokens: [false],
    ...TEXT_BLOCK,
  },
}

/** Keys that are read, and keys that matter only in training or together with a key that is refused. */
const KNOWN = {
  model: [
    'embed_dim',
    'vision_cfg',
    'text_cfg',
    'quick_gelu',
    'init_logit_scale',
    'init_logit_bias',
    'nonscalar_logit_scale',
  ],
  image: [
    ...[
      'layers',
      'width',
      'head_width',
      'ls_init_value',
      'mlp_ratio',
      'patch_size',
      'image_size',
      'patch_dropout',
    ],
    ...[
      'attn_pooler_queries',
      'attn_pooler_heads',
      'timm_model_name',
      'timm_model_pretrained',
      'timm_pool',
      'timm_proj',
    ],
    ...['timm_proj_bias', 'timm_drop', 'timm_drop_path'],
  ],
  text: [
    ...[
      'context_length',
      'vocab_size',
      'width',
      'heads',
      'layers',
      'mlp_ratio',
      'pad_id',
      'eos_id',
      'proj_bias',
      'hf_tokenizer_name',
      'tokenizer_kwargs',
      'act_kwargs',
      'norm_kwargs',
    ],
    ...['hf_model_name', 'hf_model_pretrained', 'hf_proj_type', 'hf_pooler_type'],
  ],
}

function refuseUnknown(fields: Fields, which: 'model' | 'image' | 'text'): void {
  for (const [key, value] of fields.object) {
    if (value === null || KNOWN[which].includes(key)) continue
    const harmless = Object.hasOwn(UNCHANGED[which], key) ? UNCHANGED[which][key] : undefined
    if (harmless?.includes(value)) continue
    // {} for act_kwargs and norm_kwargs of the image tower.
    if (harmless && value instanceof Map && value.size === 0) continue
    const field = fields.name(key)
    throw badConfig(fields.file, field, `\`${field}\` ${kindOfJson(value)} is not implemented`, {
      actual: kindOfJson(value),
      ...(harmless?.length ? { expected: harmless.map(kindOfJson).join(' or ') } : {}),
    })
  }
}

function sized(fields: Fields, key: string, fallback?: number, most?: number): Size {
  return named(fields, key, fields.integer(key, fallback, 1, most))
}

function named(fields: Fields, key: string, n: number): Size {
  const field = fields.name(key)
  return { n, from: `\`${field}\` in ${fields.file}`, config: { file: fields.file, field } }
}

/** A number, or two equal numbers. */
function square(fields: Fields, key: string, fallback?: number): Size {
  const value = fields.get(key)
  if (!Array.isArray(value)) return sized(fields, key, fallback, 1 << 14)
  if (value.length !== 2 || value[0] !== value[1]) throw fields.wrong(key, 'a number (images are square)')
  return sized(new Fields(fields.file, new Map([[key, value[0]]]), fields.path), key, undefined, 1 << 14)
}

/** int(width * mlp_ratio), as Python computes it. */
function mlpOf(fields: Fields, width: Size): Size {
  const n = Math.trunc(width.n * fields.number('mlp_ratio', 4))
  if (!(n >= 1 && n <= 1 << 24)) throw fields.wrong('mlp_ratio', 'a plausible factor')
  return named(fields, 'mlp_ratio', n)
}

/** Refuses two values of a section that no model combines. */
function refusePair(fields: Fields, key: string, other: string): Error {
  const [field, with_] = [fields.name(key), fields.name(other)]
  return badConfig(
    fields.file,
    field,
    `\`${field}\` ${kindOfJson(fields.get(key))} with \`${with_}\` ${kindOfJson(fields.get(other))} is not implemented`,
    { actual: kindOfJson(fields.get(key)) },
  )
}

/** CLIP's image tower, or CLIPA's: without a layer norm before the blocks, and with mean pooling before the last layer norm. */
function imageTower(image: Fields): Pick<OpenclipSizes['image'], 'preNorm' | 'pool'> {
  const mean = image.string('pool_type', 'tok') === 'avg'
  if (mean && !image.boolean('final_ln_after_pool', false))
    throw refusePair(image, 'pool_type', 'final_ln_after_pool')
  return { preNorm: !image.boolean('no_ln_pre', false), pool: mean ? 'mean' : 'first' }
}

/** Refuses other keys in keyword arguments of which only some are implemented. */
function onlyKeys(fields: Fields | undefined, keys: readonly string[]): Fields | undefined {
  for (const key of fields?.object.keys() ?? [])
    if (fields!.has(key) && !keys.includes(key))
      throw badConfig(fields!.file, fields!.name(key), `\`${fields!.name(key)}\` is not implemented`)
  return fields
}

/** The activation of a text tower: act_kwargs are arguments of torch.nn.GELU. */
function textActivation(model: Fields, text: Fields): Activation {
  const quick = model.boolean('quick_gelu', false)
  const approximate = onlyKeys(text.section('act_kwargs'), ['approximate'])?.string('approximate', 'none')
  if (approximate === undefined) return quick ? 'quickGelu' : 'gelu'
  if (quick) throw text.wrong('act_kwargs', 'absent, as `quick_gelu` is true')
  if (approximate !== 'none' && approximate !== 'tanh')
    throw text.section('act_kwargs')!.wrong('approximate', '"none" or "tanh"')
  return approximate === 'tanh' ? 'geluTanh' : 'gelu'
}

function textEps(text: Fields): number {
  const eps = onlyKeys(text.section('norm_kwargs'), ['eps'])?.number('eps', 1e-5) ?? 1e-5
  if (!(eps >= 0 && eps < 1)) throw text.section('norm_kwargs')!.wrong('eps', 'from 0 to 1')
  return eps
}

/** CLIP's text tower, or one without a causal mask, where padding is attended to (SigLIP, CLIPA, MobileCLIP). */
function textTower(text: Fields): Pick<OpenclipSizes['text'], 'mask' | 'pool' | 'endId'> {
  const mask = text.boolean('no_causal_mask', false) ? 'full' : 'causal'
  const pool = text.string('pool_type', 'argmax')
  // The last position of a text that is not filled up would be another one.
  if (pool === 'last' && mask === 'causal') throw refusePair(text, 'pool_type', 'no_causal_mask')
  if (pool === 'last') return { mask, pool }
  if (pool === 'eos') return { mask, pool, endId: text.integer('eos_id', 2, 0) }
  return { mask, pool: 'argmax' }
}

/** The text encoder of transformers that a text_cfg names; undefined for OpenCLIP's own text tower. */
function textEncoder(text: Fields): OpenclipEncoder | undefined {
  const name = text.string('hf_model_name', '')
  if (name === '') return undefined
  const kind = encoderNamed(name)
  if (!kind)
    throw badConfig(
      text.file,
      text.name('hf_model_name'),
      `\`${text.name('hf_model_name')}\` ${kindOfJson(name)} is a text encoder that is not implemented; docs/checkpoints.md lists those that are`,
      { actual: kindOfJson(name) },
    )
  const pool = text.string('hf_pooler_type', 'mean_pooler')
  // BERT's own pooler is a layer of its own; the encoder of M2M100 has none, so this name means its first token.
  const first = pool === 'cls_last_hidden_state_pooler' || (pool === 'cls_pooler' && kind === 'm2m100')
  if (!first && pool !== 'mean_pooler')
    throw text.wrong('hf_pooler_type', '"mean_pooler" or "cls_last_hidden_state_pooler"')
  const projection = text.object.get('hf_proj_type') === null ? 'none' : text.string('hf_proj_type', 'mlp')
  if (projection !== 'none' && projection !== 'linear' && projection !== 'mlp')
    throw text.wrong('hf_proj_type', '"linear", "mlp" or null')
  const context = sized(text, 'context_length', 77, 1 << 16)
  return { kind, context, pool: first ? 'first' : 'mean', projection }
}

/** The cleaning of texts in open_clip's wrapper of transformers' tokenizers. */
const cleanings = ['whitespace', 'lower', 'canonicalize'] as const

interface Tokenization {
  tokenizer: TokenizerSpec
  /** The id with which texts are padded if the tower has no causal mask. */
  padId: number
  /** Why texts can't be tokenized, although the tower itself can be read. */
  unknown?: ClipError
}

/** The tokenizer of transformers that a text_cfg names in place of OpenAI's, from the files of the folder. */
async function tokenization(text: Fields, folder: string, pace: Pace): Promise<Tokenization> {
  const contextLength = text.integer('context_length', 77, 1, 1 << 16)
  const name = text.string('hf_tokenizer_name', '')
  const kwargs = onlyKeys(text.section('tokenizer_kwargs'), ['clean', 'strip_sep_token'])
  const own = { kind: 'bpe', contextLength, family: 'openclip' } as const
  if (name === '') {
    if (kwargs && kwargs.object.size > 0) throw refusePair(text, 'tokenizer_kwargs', 'hf_tokenizer_name')
    return { tokenizer: own, padId: 0 }
  }
  const cleaning = kwargs?.string('clean', 'whitespace') ?? 'whitespace'
  const known = cleanings.find(one => one === cleaning)
  if (!known) throw kwargs!.wrong('clean', cleanings.map(one => `"${one}"`).join(', '))
  const vocabSize = text.integer('vocab_size', 49408)
  const field = text.name('hf_tokenizer_name')
  // WordPiece has its pad token first.
  let padId = /(^|\/)bert-/.test(name) ? 0 : defaultPadId(vocabSize)
  try {
    padId = await padIdOf(folder, pace, padId)
    const found = await fileTokenizerOf(folder, pace)
    if (found) {
      const stripSeparators = kwargs?.boolean('strip_sep_token', false) ?? false
      return {
        tokenizer: {
          kind: 'file',
          ...found,
          contextLength,
          cleaning: known,
          padId,
          ...(stripSeparators ? { stripSeparators } : {}),
        },
        padId,
      }
    }
  } catch (error) {
    if (!(error instanceof ClipError) || error.code !== 'ERR_CLIP_CONFIG') throw error
    return { tokenizer: own, padId, unknown: error }
  }
  const said = kindOfJson(name)
  return {
    tokenizer: own,
    padId,
    unknown: badConfig(
      text.file,
      field,
      `\`${field}\` is ${said}, but the folder has no tokenizer: copy tokenizer.json and tokenizer_config.json of that repository into it, or load only the image tower: \`towers: ['image']\``,
      { expected: 'tokenizer.json', actual: 'none' },
    ),
  }
}

function openclipSizes(model: Fields, padId: number): OpenclipSizes {
  const image = model.section('vision_cfg')
  const text = model.section('text_cfg')
  if (!image) throw model.wrong('vision_cfg', 'an object')
  if (!text) throw model.wrong('text_cfg', 'an object')
  if (model.has('init_logit_bias')) model.number('init_logit_bias')
  refuseUnknown(model, 'model')
  refuseUnknown(image, 'image')
  refuseUnknown(text, 'text')

  const timm = image.string('timm_model_name', '') !== ''
  const imageSize = square(image, 'image_size', 224)
  const convNext = convNextTower(image, imageSize)
  const width = sized(image, 'width', 768)
  const headWidth = image.integer('head_width', 64)
  const blocks = image.get('layers')
  const resnet = Array.isArray(blocks)
  if (resnet && blocks.length !== 4) throw image.wrong('layers', 'a number or four')
  const layers = resnet
    ? (blocks.map((n, i) => {
        if (typeof n !== 'number' || !Number.isInteger(n) || n < 1 || n > 1000)
          throw image.wrong('layers', 'four positive integers')
        return { ...named(image, 'layers', n), from: `\`${image.name('layers')}[${i}]\` in ${image.file}` }
      }) as [Size, Size, Size, Size])
    : sized(image, 'layers', 12, 1000)
  const features = resnet ? width.n * 32 : width.n
  if (headWidth > features) throw image.wrong('head_width', `at most ${features}`)
  const textWidth = sized(text, 'width', 512)
  const encoder = textEncoder(text)
  return {
    file: model.file,
    embed: sized(model, 'embed_dim'),
    sigmoid: model.has('init_logit_bias'),
    ...(convNext ? { convNext } : timm ? { timm: timmTower(image, imageSize) } : {}),
    ...(encoder ? { encoder } : {}),
    image: {
      activation: model.boolean('quick_gelu', false) ? 'quickGelu' : 'gelu',
      width,
      layers,
      heads: named(image, 'head_width', Math.floor(features / headWidth)),
      imageSize,
      ...imageTower(image),
      ...(resnet || timm ? {} : { mlp: mlpOf(image, width), patch: square(image, 'patch_size', 16) }),
    },
    text: {
      width: textWidth,
      layers: sized(text, 'layers', 12, 1000),
      heads: sized(text, 'heads', 8, 1024),
      mlp: mlpOf(text, textWidth),
      context: sized(text, 'context_length', 77, 1 << 16),
      vocab: sized(text, 'vocab_size', 49408),
      activation: textActivation(model, text),
      eps: textEps(text),
      project: text.string('proj_type', 'linear') !== 'none',
      ...textTower(text),
      padId,
    },
  }
}

export const openclip: Family = {
  async recognise({ table, layout, folder, toldBy }) {
    if (layout !== 'openai' || toldBy === HUGGING_FACE || isOpenaiOrigin(table)) return false
    return (await firstOf(folder, [OPENCLIP])) !== undefined
  },
  async read({ table, folder, options, pace }) {
    const config = await readJsonFile(join(folder, OPENCLIP), pace.signal)
    const fields = config.section('model_cfg')
    if (!fields) throw config.wrong('model_cfg', 'an object')
    const described = fields.section('text_cfg')
    if (!described) throw fields.wrong('text_cfg', 'an object')
    const { tokenizer, padId, unknown } = await tokenization(described, folder, pace)
    const { model } = await readOpenaiLayout(table, options, openclipSizes(fields, padId))
    const { text } = model
    // OpenCLIP uses OpenAI's tokenizer, whatever files the folder has for transformers; only a reduced vocabulary needs them.
    const vocabulary =
      text && tokenizer.kind === 'bpe' && text.embed.vocabSize !== 49408
        ? await vocabularyOf(folder, pace)
        : undefined
    return {
      model,
      preprocess: openclipPreprocess(config.section('preprocess_cfg'), inputSize(model)),
      tokenizer: text ? tokenizer : { kind: 'bpe', contextLength: 0, family: 'openclip' },
      ...(vocabulary ? { vocabulary } : {}),
      ...(text && unknown ? { unknownTokenizer: unknown } : {}),
      family: 'openclip',
      ignored: table.ignored,
    }
  },
}
