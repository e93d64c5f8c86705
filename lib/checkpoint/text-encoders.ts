/**
 * Text encoders of transformers other than CLIP's: BERT and RoBERTa, whose layer norms come last, and the encoder of M2M100
 * (NLLB). Takes their tensors and describes the tower up to its pool.
 */

import type { BlocksSpec, TextTowerSpec, TokenEmbed } from '../native/spec.js'
import { badConfig } from './errors.js'
import type { Picker, Size } from './tensors.js'

/** How an encoder embeds tokens and where its norms are. */
export type EncoderKind = 'bert' | 'roberta' | 'm2m100'

/** The tensor by which each kind is recognised, below the prefix of the encoder. */
export const ENCODER_TOKENS: Record<EncoderKind, string> = {
  bert: 'embeddings.word_embeddings.weight',
  roberta: 'embeddings.word_embeddings.weight',
  m2m100: 'embed_tokens.weight',
}

/** The id of the pad token, which is masked. Position ids of RoBERTa and M2M100 begin after it. */
const padIds: Record<EncoderKind, number> = { bert: 0, roberta: 1, m2m100: 1 }

export interface EncoderSizes {
  blocks: BlocksSpec
  width: Size
  mlp: Size
  vocab: Size
  /** The longest text. */
  context: Size
  /** Rows of the table of learned positions. */
  positions?: Size
}

type Encoder = Pick<TextTowerSpec, 'kind' | 'embed' | 'preNorm' | 'mask' | 'blocks'>

/** Takes the tensors of an encoder whose names begin with `prefix`. */
export function takeEncoder(
  picker: Picker,
  kind: EncoderKind,
  prefix: string,
  sizes: EncoderSizes,
  maskedId = padIds[kind],
): Encoder {
  const { width, vocab, context } = sizes
  const embed: TokenEmbed = { kind: 'tokens', vocabSize: vocab.n, contextLength: context.n, maskedId }
  picker.take('text.token', `${prefix}${ENCODER_TOKENS[kind]}`, [vocab, width])
  // Buffers and layers that have no effect on the embedding.
  const unused = `${prefix.replaceAll('.', '\\.')}(embeddings\\.(position|token_type)_ids$|embed_positions\\.|pooler\\.)`
  picker.ignore(new RegExp(`^${unused}`))
  if (kind === 'm2m100') {
    takeM2m100(picker, prefix, sizes)
    // Sinusoids whose ids begin after that of the pad token, and embeddings times the root of the width.
    const scaled = { ...embed, tokenScale: Math.sqrt(width.n), sinusoid: padIds.m2m100 + 1 }
    return { kind: 'transformer', embed: scaled, preNorm: false, mask: 'full', blocks: sizes.blocks }
  }
  takeBert(picker, kind, prefix, sizes)
  return {
    kind: 'transformer',
    embed,
    preNorm: true,
    mask: 'full',
    blocks: { ...sizes.blocks, postNorm: true },
  }
}

/** The position id of a text's first token. */
export const firstPosition = (kind: EncoderKind): number => (kind === 'bert' ? 0 : padIds[kind] + 1)

function takeBert(picker: Picker, kind: EncoderKind, prefix: string, sizes: EncoderSizes): void {
  const { blocks, width, mlp, context } = sizes
  const embeddings = `${prefix}embeddings`
  const first = firstPosition(kind)
  const positions = sizes.positions ?? picker.size(`${embeddings}.position_embeddings.weight`, 0, 2)
  if (context.n > positions.n - first)
    throw badConfig(
      context.config?.file ?? picker.table.where,
      context.config?.field,
      `a context of ${context.n} tokens (${context.from}) needs ${context.n + first} positions, but there are ${positions.n} (${positions.from})`,
      { expected: `at most ${positions.n - first}`, actual: String(context.n) },
    )
  picker.takeRows(
    'text.position',
    `${embeddings}.position_embeddings.weight`,
    [positions, width],
    first,
    context.n,
  )
  // Every token has the first type.
  const types = picker.size(`${embeddings}.token_type_embeddings.weight`, 0, 2)
  picker.takeRows('text.tokenType', `${embeddings}.token_type_embeddings.weight`, [types, width], 0)
  picker.takeNorm('text.preNorm', `${embeddings}.LayerNorm`, width)
  for (let i = 0; i < blocks.layers; ++i) {
    const from = `${prefix}encoder.layer.${i}`
    const to = `text.blocks.${i}`
    for (const part of ['query', 'key', 'value'])
      picker.takeLinear(`${to}.${part}`, `${from}.attention.self.${part}`, width, width)
    picker.takeLinear(`${to}.out`, `${from}.attention.output.dense`, width, width)
    picker.takeNorm(`${to}.norm1`, `${from}.attention.output.LayerNorm`, width)
    picker.takeLinear(`${to}.fc1`, `${from}.intermediate.dense`, mlp, width)
    picker.takeLinear(`${to}.fc2`, `${from}.output.dense`, width, mlp)
    picker.takeNorm(`${to}.norm2`, `${from}.output.LayerNorm`, width)
  }
}

function takeM2m100(picker: Picker, prefix: string, { blocks, width, mlp }: EncoderSizes): void {
  for (let i = 0; i < blocks.layers; ++i) {
    const from = `${prefix}layers.${i}`
    const to = `text.blocks.${i}`
    picker.takeNorm(`${to}.norm1`, `${from}.self_attn_layer_norm`, width)
    for (const [part, name] of [
      ['query', 'q_proj'],
      ['key', 'k_proj'],
      ['value', 'v_proj'],
      ['out', 'out_proj'],
    ] as const)
      picker.takeLinear(`${to}.${part}`, `${from}.self_attn.${name}`, width, width)
    picker.takeNorm(`${to}.norm2`, `${from}.final_layer_norm`, width)
    picker.takeLinear(`${to}.fc1`, `${from}.fc1`, mlp, width)
    picker.takeLinear(`${to}.fc2`, `${from}.fc2`, width, mlp)
  }
  picker.takeNorm('text.finalNorm', `${prefix}layer_norm`, width)
}

/** The encoder of an OpenCLIP folder, which text_cfg names; its configuration is not in the folder. */
export interface OpenclipEncoder {
  kind: EncoderKind
  context: Size
  pool: 'first' | 'mean'
  /** 'none' if the pooled row is the embedding. */
  projection: 'linear' | 'mlp' | 'none'
}

/** Hugging Face's names of encoders that are implemented, without their owner. All of them have heads of 64 numbers. */
const encoders: readonly (readonly [pattern: RegExp, kind: EncoderKind])[] = [
  [/^((FacebookAI|xlm-roberta)\/)?xlm-roberta-(base|large)$/, 'roberta'],
  [/^(FacebookAI\/)?roberta-(base|large)$/, 'roberta'],
  [/^facebook\/nllb-200-(distilled-600M|distilled-1\.3B|1\.3B|3\.3B)$/, 'm2m100'],
]
const headWidth = 64

export const encoderNamed = (name: string): EncoderKind | undefined =>
  encoders.find(([pattern]) => pattern.test(name))?.[1]

/** Takes the text tower of an OpenCLIP folder: text.transformer.*, text.proj*. Sizes come from the tensors. */
export function takeOpenclipEncoder(picker: Picker, encoder: OpenclipEncoder, embed: Size): TextTowerSpec {
  const { kind, context, pool, projection } = encoder
  const prefix = 'text.transformer.'
  const tokens = `${prefix}${ENCODER_TOKENS[kind]}`
  const [vocab, width] = [picker.size(tokens, 0, 2), picker.size(tokens, 1, 2)]
  const layers = kind === 'm2m100' ? `${prefix}layers.` : `${prefix}encoder.layer.`
  const mlp = picker.size(`${layers}0.${kind === 'm2m100' ? 'fc1' : 'intermediate.dense'}.weight`, 0, 2)
  if (width.n % headWidth !== 0)
    throw badConfig(
      picker.table.where,
      tokens,
      `a width of ${width.n} (${width.from}) is not a multiple of the ${headWidth} numbers of a head`,
    )
  const blocks: BlocksSpec = {
    width: width.n,
    layers: picker.table.count(layers),
    heads: width.n / headWidth,
    mlp: mlp.n,
    activation: kind === 'm2m100' ? 'relu' : 'gelu',
    layerNormEps: 1e-5,
  }
  const tower = takeEncoder(picker, kind, prefix, { blocks, width, mlp, vocab, context })
  const whole = { ...tower, pool, ...(kind === 'm2m100' ? {} : { finalNorm: false }) }
  if (projection === 'none') {
    if (width.n !== embed.n)
      throw badConfig(
        embed.config?.file ?? picker.table.where,
        'model_cfg.text_cfg.hf_proj_type',
        `the text tower is ${width.n} wide (${width.from}) and has no projection, but embeddings have ${embed.n} numbers (${embed.from})`,
      )
    return { ...whole, project: 'identity' }
  }
  if (projection === 'linear') {
    picker.take('text.projection', 'text.proj.weight', [embed, width])
    return { ...whole, project: 'matrix' }
  }
  const hidden: Size = { n: Math.floor((width.n + embed.n) / 2), from: `half of ${width.n} + ${embed.n}` }
  picker.take('text.projection.hidden.weight', 'text.proj.0.weight', [hidden, width])
  picker.take('text.projection', 'text.proj.2.weight', [embed, hidden])
  return { ...whole, project: 'mlp', projectionMlp: { hidden: hidden.n, activation: 'gelu' } }
}
