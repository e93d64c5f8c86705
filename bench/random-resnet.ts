/**
 * A checkpoint with the shapes of OpenAI's RN50 and random weights, in OpenCLIP's layout. The text tower has
 * only one block, because only images are timed.
 */

import { type RandomTensor, randomFolder } from './random-model.js'

/** Radford et al. 2021, table 20. */
export const rn50 = { embedDim: 1024, size: 224, width: 64, layers: [3, 4, 6, 3], heads: 32 } as const

const text = { width: 64, context: 77, vocab: 49408 }

function tensors(): RandomTensor[] {
  const all: RandomTensor[] = []
  const put = (name: string, shape: number[], std: number, mean = 0) => all.push({ name, shape, std, mean })
  /** He initialisation, which preserves the magnitude of numbers that go through a ReLU. */
  const conv = (name: string, out: number, inn: number, kernel: number) =>
    put(`${name}.weight`, [out, inn, kernel, kernel], (2 / (inn * kernel * kernel)) ** 0.5)
  const norm = (name: string, size: number, weight = 1) => {
    put(`${name}.weight`, [size], 0.1, weight)
    put(`${name}.bias`, [size], 0.05)
    put(`${name}.running_mean`, [size], 0.05)
    put(`${name}.running_var`, [size], 0.1, 1)
  }
  const { width, layers, size, embedDim } = rn50
  conv('visual.conv1', width / 2, 3, 3)
  norm('visual.bn1', width / 2)
  conv('visual.conv2', width / 2, width / 2, 3)
  norm('visual.bn2', width / 2)
  conv('visual.conv3', width, width / 2, 3)
  norm('visual.bn3', width)
  let input: number = width
  for (const [l, blocks] of layers.entries())
    for (let i = 0; i < blocks; i++) {
      const name = `visual.layer${l + 1}.${i}`
      const planes = width * 2 ** l
      conv(`${name}.conv1`, planes, input, 1)
      norm(`${name}.bn1`, planes)
      conv(`${name}.conv2`, planes, planes, 3)
      norm(`${name}.bn2`, planes)
      conv(`${name}.conv3`, 4 * planes, planes, 1)
      norm(`${name}.bn3`, 4 * planes, 0.5) // smaller, so that the sum of 16 residuals stays small
      if (i === 0) {
        conv(`${name}.downsample.0`, 4 * planes, input, 1)
        norm(`${name}.downsample.1`, 4 * planes)
      }
      input = 4 * planes
    }
  put('visual.attnpool.positional_embedding', [1 + (size / 32) ** 2, input], input ** -0.5)
  for (const [name, out] of [
    ['q_proj', input],
    ['k_proj', input],
    ['v_proj', input],
    ['c_proj', embedDim],
  ] as const) {
    put(`visual.attnpool.${name}.weight`, [out, input], input ** -0.5)
    put(`visual.attnpool.${name}.bias`, [out], 0.02)
  }
  const w = text.width
  const linear = (name: string, out: number, inn: number) => {
    put(`${name}.weight`, [out, inn], inn ** -0.5)
    put(`${name}.bias`, [out], 0.02)
  }
  const layerNorm = (name: string) => {
    put(`${name}.weight`, [w], 0.1, 1)
    put(`${name}.bias`, [w], 0.05)
  }
  put('token_embedding.weight', [text.vocab, w], 0.02)
  put('positional_embedding', [text.context, w], 0.01)
  const block = 'transformer.resblocks.0'
  layerNorm(`${block}.ln_1`)
  put(`${block}.attn.in_proj_weight`, [3 * w, w], w ** -0.5)
  put(`${block}.attn.in_proj_bias`, [3 * w], 0.02)
  linear(`${block}.attn.out_proj`, w, w)
  layerNorm(`${block}.ln_2`)
  linear(`${block}.mlp.c_fc`, 4 * w, w)
  linear(`${block}.mlp.c_proj`, w, 4 * w)
  layerNorm('ln_final')
  put('text_projection', [w, embedDim], w ** -0.5)
  put('logit_scale', [], 0, Math.log(100))
  return all
}

/** The folder of the checkpoint, which is written if it does not exist. */
export const randomResNet = (): Promise<string> =>
  randomFolder(
    'RN50',
    () => ({
      'open_clip_config.json': {
        model_cfg: {
          embed_dim: rn50.embedDim,
          quick_gelu: true,
          vision_cfg: { image_size: rn50.size, layers: rn50.layers, width: rn50.width, patch_size: null },
          text_cfg: {
            context_length: text.context,
            vocab_size: text.vocab,
            width: text.width,
            heads: 1,
            layers: 1,
          },
        },
        preprocess_cfg: {
          mean: [0.48145466, 0.4578275, 0.40821073],
          std: [0.26862954, 0.26130258, 0.27577711],
        },
      },
    }),
    tensors,
    'open_clip_model.safetensors',
  )
