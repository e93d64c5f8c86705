/** CLIPModel as transformers saves it: config.json, and tensors named text_model.*, vision_model.*. */

import { badConfig } from './errors.js'
import { Fields } from './fields.js'
import { agreedActivation, agreedHeads, checkDivides, type Tower } from './options.js'
import type { Activation, CheckpointOptions, ModelSpec, TokenizerSpec, TransformerSpec } from './spec.js'
import { Picker, readLogitScale, type Size, type TensorTable } from './tensors.js'

/** Refuses the configurations of other models. */
export function checkIsClip(config: Fields): void {
  const type = config.get('model_type')
  if (type !== undefined && type !== 'clip') throw config.wrong('model_type', '"clip"')
  const architectures = config.get('architectures')
  if (architectures === undefined && type !== undefined) return
  if (!Array.isArray(architectures) || !architectures.includes('CLIPModel'))
    throw config.wrong('architectures', '["CLIPModel"]')
}

/** Does this table have transformers' names? */
export function isHuggingFace(table: TensorTable): boolean {
  for (const name of table.tensors.keys())
    if (name.startsWith('text_model.') || name.startsWith('vision_model.')) return true
  return false
}

/** A tower's section; keys of the older `<key>_dict` win, as in transformers. */
function towerFields(config: Fields, key: 'text_config' | 'vision_config'): Fields {
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
  spec: TransformerSpec
  width: Size
  mlp: Size
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
  return { spec: { width: width.n, layers, heads, mlp: mlp.n, activation, layerNormEps }, width, mlp }
}

function prefixOf(which: Tower): string {
  return which === 'image' ? 'vision_model' : 'text_model'
}

function takeBlocks(picker: Picker, which: Tower, { spec, width, mlp }: TowerSizes): void {
  for (let i = 0; i < spec.layers; ++i) {
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
  if (value.length !== 2 || value[0] !== value[1]) throw fields.wrong(key, 'a number (pictures are square)')
  return sizeOf(new Fields(fields.file, new Map([[key, value[0]]]), fields.path), key, fallback, 1 << 14)
}

/** Everything but preprocessing and the vocabulary. */
export async function readHuggingFace(
  config: Fields,
  table: TensorTable,
  options: CheckpointOptions,
): Promise<{ model: ModelSpec; tokenizer: TokenizerSpec; endId: number }> {
  checkIsClip(config)
  const picker = new Picker(table)
  const embed = sizeOf(config, 'projection_dim', 512)

  const vision = towerFields(config, 'vision_config')
  const image = transformer(vision, 'image', table, options)
  if (vision.integer('num_channels', 3) !== 3) throw vision.wrong('num_channels', '3')
  const imageSize = squareOf(vision, 'image_size', 224)
  const patch = squareOf(vision, 'patch_size', 32)
  if (imageSize.n % patch.n !== 0) throw vision.wrong('image_size', `a multiple of \`patch_size\` ${patch.n}`)
  const positions: Size = {
    ...imageSize,
    n: (imageSize.n / patch.n) ** 2 + 1,
    from: `1 + (${imageSize.n} / ${patch.n}) ** 2: image_size and patch_size in ${config.file}`,
  }
  const v = 'vision_model'
  picker.take('image.class', `${v}.embeddings.class_embedding`, [image.width])
  picker.take('image.patch.weight', `${v}.embeddings.patch_embedding.weight`, [image.width, 3, patch, patch])
  picker.take('image.position', `${v}.embeddings.position_embedding.weight`, [positions, image.width])
  picker.takeNorm('image.preNorm', `${v}.pre_layrnorm`, image.width) // spelt so in every checkpoint
  takeBlocks(picker, 'image', image)
  picker.takeNorm('image.postNorm', `${v}.post_layernorm`, image.width)
  picker.take('image.projection', 'visual_projection.weight', [embed, image.width])

  const textFields = towerFields(config, 'text_config')
  const text = transformer(textFields, 'text', table, options)
  const context = sizeOf(textFields, 'max_position_embeddings', 77, 1 << 16)
  const vocab = sizeOf(textFields, 'vocab_size', 49408)
  const t = 'text_model'
  picker.take('text.token', `${t}.embeddings.token_embedding.weight`, [vocab, text.width])
  picker.take('text.position', `${t}.embeddings.position_embedding.weight`, [context, text.width])
  takeBlocks(picker, 'text', text)
  picker.takeNorm('text.finalNorm', `${t}.final_layer_norm`, text.width)
  picker.take('text.projection', 'text_projection.weight', [embed, text.width])

  // Indices 0, 1, 2, ... that older versions saved as a buffer.
  picker.ignore(/^(text|vision)_model\.embeddings\.position_ids$/)
  const logitScale = await readLogitScale(picker)
  picker.finish()

  const endId = textFields.integer('eos_token_id', 49407, 0)
  return {
    model: {
      files: table.files.map(f => f.path),
      fileBytes: table.files.map(f => f.bytes),
      embedDim: embed.n,
      logitScale,
      image: { kind: 'vit', ...image.spec, imageSize: imageSize.n, patchSize: patch.n },
      text: { ...text.spec, contextLength: context.n, vocabSize: vocab.n },
      tensors: picker.picked,
    },
    tokenizer: {
      contextLength: context.n,
      // transformers: 2 is what configurations said before the real end token was written there.
      pooling: endId === 2 ? 'argmax' : 'eos',
      family: 'huggingface',
    },
    endId,
  }
}

/** With first-position pooling, the end token must be the one that the configuration names. */
export function checkEndToken(
  config: Fields,
  endId: number,
  vocabEnd: number | undefined,
  vocabSize: number,
): void {
  if (endId === 2) return
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
