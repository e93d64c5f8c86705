/** Small models with random weights, written by the tests themselves as Hugging Face folders. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generator } from './random.js'

export interface TinyShape {
  width: number
  layers: number
  heads: number
  imageSize: number
  patchSize: number
  contextLength: number
  vocabSize: number
}

/** OpenAI's text vocabulary and context on towers of almost no width. */
export const tinyShape: TinyShape = {
  width: 16,
  layers: 2,
  heads: 2,
  imageSize: 16,
  patchSize: 8,
  contextLength: 77,
  vocabSize: 49408,
}

/**
 * Writes a CLIPModel folder (float32) without vocabulary files, so that OpenAI's built-in vocabulary is used. Weights are
 * uniform in +-0.5 / sqrt(width), from `seed`; `change` may put others in their place.
 */
export async function writeTinyModel(
  folder: string,
  shape: Partial<TinyShape> = {},
  seed = 1,
  change: (name: string, values: Float32Array) => void = () => {},
): Promise<string> {
  const s = { ...tinyShape, ...shape }
  const w = s.width
  const tensors = new Map<string, number[]>()
  const linear = (name: string, out: number, inn: number, bias = true) => {
    tensors.set(`${name}.weight`, [out, inn])
    if (bias) tensors.set(`${name}.bias`, [out])
  }
  const norm = (name: string) => {
    tensors.set(`${name}.weight`, [w])
    tensors.set(`${name}.bias`, [w])
  }
  for (const tower of ['vision_model', 'text_model'])
    for (let i = 0; i < s.layers; i++) {
      const layer = `${tower}.encoder.layers.${i}`
      norm(`${layer}.layer_norm1`)
      norm(`${layer}.layer_norm2`)
      for (const p of ['q_proj', 'k_proj', 'v_proj', 'out_proj']) linear(`${layer}.self_attn.${p}`, w, w)
      linear(`${layer}.mlp.fc1`, 4 * w, w)
      linear(`${layer}.mlp.fc2`, w, 4 * w)
    }
  tensors.set('vision_model.embeddings.class_embedding', [w])
  tensors.set('vision_model.embeddings.patch_embedding.weight', [w, 3, s.patchSize, s.patchSize])
  tensors.set('vision_model.embeddings.position_embedding.weight', [1 + (s.imageSize / s.patchSize) ** 2, w])
  norm('vision_model.pre_layrnorm')
  norm('vision_model.post_layernorm')
  tensors.set('text_model.embeddings.token_embedding.weight', [s.vocabSize, w])
  tensors.set('text_model.embeddings.position_embedding.weight', [s.contextLength, w])
  norm('text_model.final_layer_norm')
  linear('visual_projection', w, w, false)
  linear('text_projection', w, w, false)
  tensors.set('logit_scale', [])

  const count = (dims: readonly number[]) => dims.reduce((n, d) => n * d, 1)
  const header: Record<string, unknown> = {}
  let floats = 0
  const places = new Map<string, [number, number]>()
  for (const [name, dims] of tensors) {
    places.set(name, [floats, floats + count(dims)])
    header[name] = { dtype: 'F32', shape: dims, data_offsets: [4 * floats, 4 * (floats + count(dims))] }
    floats += count(dims)
  }
  const values = new Float32Array(floats)
  const next = generator(seed)
  const scale = 1 / Math.sqrt(w)
  for (let i = 0; i < floats; i++) values[i] = (next() - 0.5) * scale
  values[floats - 1] = Math.log(100)
  for (const [name, [from, to]] of places) change(name, values.subarray(from, to))
  let json = JSON.stringify(header)
  json += ' '.repeat((8 - (json.length % 8)) % 8)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))

  const tower = {
    hidden_size: w,
    intermediate_size: 4 * w,
    num_hidden_layers: s.layers,
    num_attention_heads: s.heads,
  }
  const { imageSize: size } = s
  await mkdir(folder, { recursive: true })
  await writeFile(
    join(folder, 'model.safetensors'),
    Buffer.concat([length, Buffer.from(json), Buffer.from(values.buffer)]),
  )
  await writeFile(
    join(folder, 'config.json'),
    JSON.stringify({
      architectures: ['CLIPModel'],
      model_type: 'clip',
      projection_dim: w,
      text_config: {
        ...tower,
        vocab_size: s.vocabSize,
        max_position_embeddings: s.contextLength,
        eos_token_id: 2,
        hidden_act: 'quick_gelu',
      },
      vision_config: { ...tower, image_size: size, patch_size: s.patchSize, hidden_act: 'quick_gelu' },
    }),
  )
  await writeFile(
    join(folder, 'preprocessor_config.json'),
    JSON.stringify({
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
    }),
  )
  return folder
}
