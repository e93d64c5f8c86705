/**
 * Checkpoints with random weights and the shapes of the real models, as Hugging Face folders. They are timed,
 * and the other side's ONNX files are made from them. Written once to a cache folder outside the repository;
 * nothing is downloaded.
 */

import { existsSync } from 'node:fs'
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ModelShape, tokens } from './cases.js'

/** Increased when the weights change, so that old files are not used for new ones. */
const VERSION = 2

/**
 * The numbers in a model's matrices: those that float16 can represent, as in OpenAI's released checkpoints
 * (and therefore in float32 files made from them), or numbers that use all bits of float32, as in OpenCLIP's.
 */
export type WeightBits = 'float16' | 'float32'

/** The folder in which the models, ONNX files and images of the benchmarks are stored. */
export const cacheFolder = process.env.CLIP_NATIVE_BENCH_CACHE ?? join(tmpdir(), 'clip-native-bench')

export interface RandomTensor {
  name: string
  shape: number[]
  /** Rounded to the nearest float16. */
  float16?: boolean
  /** Uniform with this standard deviation around `mean`. */
  std: number
  mean: number
}

const count = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1)

/**
 * The initialisation of Radford et al. 2021, as implemented in transformers; norms and biases vary a little,
 * so that none is an identity.
 */
function tensorsOf(m: ModelShape, weights: WeightBits): RandomTensor[] {
  const all: RandomTensor[] = []
  const put = (name: string, shape: number[], std: number, mean = 0) => all.push({ name, shape, std, mean })
  const linear = (name: string, out: number, inn: number, std: number) => {
    put(`${name}.weight`, [out, inn], std)
    put(`${name}.bias`, [out], 0.02)
  }
  const norm = (name: string, width: number) => {
    put(`${name}.weight`, [width], 0.1, 1)
    put(`${name}.bias`, [width], 0.05)
  }
  for (const [tower, t] of [
    ['vision_model', m.image],
    ['text_model', m.text],
  ] as const) {
    const deep = (2 * t.layers) ** -0.5
    for (let i = 0; i < t.layers; i++) {
      const layer = `${tower}.encoder.layers.${i}`
      norm(`${layer}.layer_norm1`, t.width)
      for (const p of ['q_proj', 'k_proj', 'v_proj'])
        linear(`${layer}.self_attn.${p}`, t.width, t.width, t.width ** -0.5)
      linear(`${layer}.self_attn.out_proj`, t.width, t.width, t.width ** -0.5 * deep)
      norm(`${layer}.layer_norm2`, t.width)
      linear(`${layer}.mlp.fc1`, t.mlp, t.width, (2 * t.width) ** -0.5)
      linear(`${layer}.mlp.fc2`, t.width, t.mlp, t.width ** -0.5 * deep)
    }
  }
  const { image, text } = m
  put('vision_model.embeddings.class_embedding', [image.width], image.width ** -0.5)
  put('vision_model.embeddings.patch_embedding.weight', [image.width, 3, image.patch, image.patch], 0.02)
  put('vision_model.embeddings.position_embedding.weight', [tokens(m), image.width], 0.02)
  norm('vision_model.pre_layrnorm', image.width)
  norm('vision_model.post_layernorm', image.width)
  put('text_model.embeddings.token_embedding.weight', [text.vocab, text.width], 0.02)
  put('text_model.embeddings.position_embedding.weight', [text.context, text.width], 0.02)
  norm('text_model.final_layer_norm', text.width)
  put('visual_projection.weight', [m.embedDim, image.width], image.width ** -0.5)
  put('text_projection.weight', [m.embedDim, text.width], text.width ** -0.5)
  put('logit_scale', [], 0, Math.log(100))
  // As in OpenAI's convert_weights: linear layers, convolution and projections, but not embeddings and norms.
  const narrow = (t: RandomTensor) =>
    t.shape.length > 1 && !/position_embedding|token_embedding/.test(t.name) && weights === 'float16'
  return all.map(t => (narrow(t) ? { ...t, float16: true } : t))
}

/** Rounds to the nearest float16; for numbers below 65504. */
function toFloat16s(values: Float32Array): void {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length)
  for (let i = 0; i < values.length; i++) {
    if (Math.abs(values[i]!) < 2 ** -14) values[i] = Math.round(values[i]! * 2 ** 24) / 2 ** 24
    else bits[i] = (bits[i]! + 0xfff + ((bits[i]! >> 13) & 1)) & ~0x1fff
  }
}

/** Fills with uniform numbers (xorshift32). It has to be fast, because there are 151 million of them. */
function fill(values: Float32Array, t: RandomTensor, seed: number): void {
  let state = (seed * 2654435761) | 0 || 1
  const scale = (t.std * Math.sqrt(3)) / 2 ** 31
  for (let i = 0; i < values.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    values[i] = t.mean + state * scale
  }
  if (t.float16) toFloat16s(values)
}

function configs(m: ModelShape): Record<string, unknown> {
  const tower = (t: ModelShape['image'] | ModelShape['text']) => ({
    hidden_size: t.width,
    intermediate_size: t.mlp,
    num_hidden_layers: t.layers,
    num_attention_heads: t.heads,
    hidden_act: m.activation === 'quickGelu' ? 'quick_gelu' : 'gelu',
    projection_dim: m.embedDim,
    layer_norm_eps: 1e-5,
  })
  const { size } = m.image
  return {
    'config.json': {
      architectures: ['CLIPModel'],
      model_type: 'clip',
      projection_dim: m.embedDim,
      text_config: {
        ...tower(m.text),
        model_type: 'clip_text_model',
        vocab_size: m.text.vocab,
        max_position_embeddings: m.text.context,
        bos_token_id: 49406,
        eos_token_id: 49407,
      },
      vision_config: {
        ...tower(m.image),
        model_type: 'clip_vision_model',
        image_size: size,
        patch_size: m.image.patch,
      },
    },
    'preprocessor_config.json': {
      image_processor_type: 'CLIPImageProcessor',
      size: { shortest_edge: size },
      crop_size: { height: size, width: size },
      do_resize: true,
      do_center_crop: true,
      do_rescale: true,
      do_normalize: true,
      do_convert_rgb: true,
      resample: 3,
      image_mean: [0.48145466, 0.4578275, 0.40821073],
      image_std: [0.26862954, 0.26130258, 0.27577711],
    },
  }
}

/**
 * The folder of `m`'s checkpoint (float32 safetensors, with OpenAI's built-in vocabulary); it is written if
 * it does not exist.
 */
export const randomModel = (m: ModelShape, weights: WeightBits = 'float16'): Promise<string> =>
  randomFolder(
    weights === 'float16' ? m.name : `${m.name} ${weights}`,
    () => configs(m),
    () => tensorsOf(m, weights),
  )

/**
 * The folder of a checkpoint: its small files as JSON, its tensors as `weightsName`; it is written if it does
 * not exist.
 */
export async function randomFolder(
  name: string,
  configs: () => Record<string, unknown>,
  tensors: () => RandomTensor[],
  weightsName = 'model.safetensors',
): Promise<string> {
  const folder = join(cacheFolder, `${name.toLowerCase().replace(/[^a-z0-9]+/g, '-')}-v${VERSION}`)
  const weights = join(folder, weightsName)
  if (existsSync(weights)) return folder
  process.stderr.write(`Writing ${name} with random weights to ${folder}\n`)
  await mkdir(folder, { recursive: true })
  for (const [file, json] of Object.entries(configs()))
    await writeFile(join(folder, file), JSON.stringify(json, null, 2))
  const all = tensors()
  const header: Record<string, unknown> = {}
  let at = 0
  for (const { name, shape } of all) {
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + 4 * count(shape)] }
    at += 4 * count(shape)
  }
  let json = JSON.stringify(header)
  json += ' '.repeat((8 - (json.length % 8)) % 8)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  const partial = `${weights}.${process.pid}`
  const file = await open(partial, 'w')
  try {
    await file.write(length)
    await file.write(json)
    for (const [i, tensor] of all.entries()) {
      const values = new Float32Array(count(tensor.shape))
      fill(values, tensor, i + 1)
      await file.write(new Uint8Array(values.buffer))
    }
    await file.close()
    await rename(partial, weights)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
  return folder
}
