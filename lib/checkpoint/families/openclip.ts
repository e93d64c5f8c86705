/** OpenCLIP: weights with an open_clip_config.json, {model_cfg, preprocess_cfg}. Unknown keys are refused by name. */

import { join } from 'node:path'
import type { ClipError } from '../../base/errors.js'
import type { Json } from '../../base/json.js'
import { badConfig } from '../errors.js'
import { Fields, kindOfJson, readJsonFile } from '../fields.js'
import { firstOf, HUGGING_FACE, OPENCLIP } from '../layouts.js'
import { isOpenaiOrigin, readOpenaiLayout } from '../openai-layout.js'
import type { OpenclipSizes } from '../openclip-sizes.js'
import { inputSize, openclipPreprocess } from '../processor.js'
import type { Size } from '../tensors.js'
import { vocabularyOf } from '../vocabulary.js'
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

/** Keys that change the arithmetic, with the values that are implemented: open_clip's defaults first. */
const UNCHANGED: Record<'model' | 'image' | 'text', Record<string, Json[]>> = {
  model: { init_logit_bias: [], multimodal_cfg: [], custom_text: [true, false] },
  image: {
    ls_init_value: [],
    attentional_pool: [false],
    no_ln_pre: [false, true],
    pos_embed_type: ['learnable'],
    final_ln_after_pool: [false, true],
    pool_type: ['tok', 'avg'],
    output_tokens: [false],
    ...BLOCK,
    timm_model_name: [''],
  },
  text: {
    tokenizer_mode: ['clean'],
    tokenizer_kwargs: [],
    ls_init_value: [],
    embed_cls: [false],
    no_causal_mask: [false, true],
    final_ln_after_pool: [false],
    pool_type: ['argmax', 'last'],
    proj_type: ['linear'],
    output_tokens: [false],
    ...BLOCK,
    hf_model_name: [''],
  },
}

/** Keys that are read, and keys that matter only in training or together with a key that is refused. */
const KNOWN = {
  model: ['embed_dim', 'vision_cfg', 'text_cfg', 'quick_gelu', 'init_logit_scale', 'nonscalar_logit_scale'],
  image: [
    ...['layers', 'width', 'head_width', 'mlp_ratio', 'patch_size', 'image_size', 'patch_dropout'],
    ...['attn_pooler_queries', 'attn_pooler_heads', 'timm_model_pretrained', 'timm_pool', 'timm_proj'],
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
    ],
    ...['hf_model_pretrained', 'hf_proj_type', 'hf_pooler_type'],
  ],
}

function refuseUnknown(fields: Fields, which: 'model' | 'image' | 'text'): void {
  for (const [key, value] of fields.object) {
    if (value === null || KNOWN[which].includes(key)) continue
    const harmless = Object.hasOwn(UNCHANGED[which], key) ? UNCHANGED[which][key] : undefined
    if (harmless?.includes(value)) continue
    // {} for act_kwargs, norm_kwargs, tokenizer_kwargs.
    if (harmless && value instanceof Map && value.size === 0) continue
    if (key === 'tokenizer_kwargs' && tokenizerOf(fields) !== undefined) continue
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

/** The tokenizer of transformers that a text_cfg names, in place of OpenAI's. */
const tokenizerOf = (text: Fields): string | undefined => text.string('hf_tokenizer_name', '') || undefined

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

/** CLIP's text tower, or CLIPA's: without a causal mask (padding is attended to), and pooled at the last position. */
function textTower(text: Fields): Pick<OpenclipSizes['text'], 'mask' | 'pool' | 'padId'> {
  const full = text.boolean('no_causal_mask', false)
  const last = text.string('pool_type', 'argmax') === 'last'
  if (full !== last)
    throw full
      ? refusePair(text, 'no_causal_mask', 'pool_type')
      : refusePair(text, 'pool_type', 'no_causal_mask')
  return full ? { mask: 'full', pool: 'last', padId: 0 } : { mask: 'causal', pool: 'argmax' }
}

/** Why texts can't be tokenized, although the tower itself can be read. */
function unknownTokenizer(text: Fields): ClipError | undefined {
  const name = tokenizerOf(text)
  if (name === undefined) return undefined
  const field = text.name('hf_tokenizer_name')
  const said = kindOfJson(name)
  return badConfig(
    text.file,
    field,
    `\`${field}\` ${said} is a tokenizer of another kind than OpenAI's byte pair encoding, which is not implemented. Load only the image tower: \`towers: ['image']\``,
    { expected: 'no hf_tokenizer_name', actual: said },
  )
}

function openclipSizes(model: Fields): OpenclipSizes {
  const image = model.section('vision_cfg')
  const text = model.section('text_cfg')
  if (!image) throw model.wrong('vision_cfg', 'an object')
  if (!text) throw model.wrong('text_cfg', 'an object')
  refuseUnknown(model, 'model')
  refuseUnknown(image, 'image')
  refuseUnknown(text, 'text')

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
  return {
    file: model.file,
    embed: sized(model, 'embed_dim'),
    activation: model.boolean('quick_gelu', false) ? 'quickGelu' : 'gelu',
    image: {
      width,
      layers,
      heads: named(image, 'head_width', Math.floor(features / headWidth)),
      imageSize: square(image, 'image_size', 224),
      ...imageTower(image),
      ...(resnet ? {} : { mlp: mlpOf(image, width), patch: square(image, 'patch_size', 16) }),
    },
    text: {
      width: textWidth,
      layers: sized(text, 'layers', 12, 1000),
      heads: sized(text, 'heads', 8, 1024),
      mlp: mlpOf(text, textWidth),
      context: sized(text, 'context_length', 77, 1 << 16),
      vocab: sized(text, 'vocab_size', 49408),
      ...textTower(text),
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
    const { model } = await readOpenaiLayout(table, options, openclipSizes(fields))
    const { text } = model
    // OpenCLIP uses OpenAI's tokenizer, whatever files the folder has for transformers; only a reduced vocabulary needs them.
    const vocabulary = text && text.embed.vocabSize !== 49408 ? await vocabularyOf(folder, pace) : undefined
    const unknown = text && unknownTokenizer(fields.section('text_cfg')!)
    return {
      model,
      preprocess: openclipPreprocess(config.section('preprocess_cfg'), inputSize(model)),
      tokenizer: { kind: 'bpe', contextLength: text?.embed.contextLength ?? 0, family: 'openclip' },
      ...(vocabulary ? { vocabulary } : {}),
      ...(unknown ? { unknownTokenizer: unknown } : {}),
      family: 'openclip',
      ignored: table.ignored,
    }
  },
}
