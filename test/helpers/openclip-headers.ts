/** Checkpoints in OpenAI's and OpenCLIP's layout of which only the header is real: the data is a hole in the file. */

import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** model_cfg of open_clip_config.json, as far as these need it. */
export interface OpenclipConfig {
  embed_dim: number
  vision_cfg: {
    image_size: number
    layers: number | number[]
    width: number
    patch_size: number | null
    head_width?: number
    mlp_ratio?: number
    no_ln_pre?: boolean
    pool_type?: string
    final_ln_after_pool?: boolean
  }
  text_cfg: {
    context_length: number
    vocab_size: number
    width: number
    heads: number
    layers: number
    pool_type?: string
    no_causal_mask?: boolean
  }
  quick_gelu?: boolean
}

type Shapes = Map<string, number[]>

function takeBlocks(shapes: Shapes, prefix: string, width: number, layers: number, mlp: number): void {
  for (let i = 0; i < layers; i++) {
    const block = `${prefix}.resblocks.${i}`
    takeNorm(shapes, `${block}.ln_1`, width)
    shapes.set(`${block}.attn.in_proj_weight`, [3 * width, width])
    shapes.set(`${block}.attn.in_proj_bias`, [3 * width])
    takeLinear(shapes, `${block}.attn.out_proj`, width, width)
    takeNorm(shapes, `${block}.ln_2`, width)
    takeLinear(shapes, `${block}.mlp.c_fc`, mlp, width)
    takeLinear(shapes, `${block}.mlp.c_proj`, width, mlp)
  }
}
function takeNorm(shapes: Shapes, name: string, width: number): void {
  shapes.set(`${name}.weight`, [width])
  shapes.set(`${name}.bias`, [width])
}
function takeLinear(shapes: Shapes, name: string, out: number, input: number): void {
  shapes.set(`${name}.weight`, [out, input])
  shapes.set(`${name}.bias`, [out])
}
function takeBatchNorm(shapes: Shapes, name: string, width: number): void {
  takeNorm(shapes, name, width)
  shapes.set(`${name}.running_mean`, [width])
  shapes.set(`${name}.running_var`, [width])
  shapes.set(`${name}.num_batches_tracked`, [])
}

function takeResnet(shapes: Shapes, { vision_cfg: v, embed_dim }: OpenclipConfig): void {
  const conv = (name: string, out: number, input: number, kernel: number) =>
    shapes.set(`visual.${name}.weight`, [out, input, kernel, kernel])
  const width = v.width
  conv('conv1', width / 2, 3, 3)
  conv('conv2', width / 2, width / 2, 3)
  conv('conv3', width, width / 2, 3)
  for (const [i, n] of [width / 2, width / 2, width].entries()) takeBatchNorm(shapes, `visual.bn${i + 1}`, n)
  let input = width
  for (const [i, blocks] of (v.layers as number[]).entries())
    for (let b = 0; b < blocks; b++) {
      const block = `layer${i + 1}.${b}`
      const planes = width << i
      conv(`${block}.conv1`, planes, input, 1)
      conv(`${block}.conv2`, planes, planes, 3)
      conv(`${block}.conv3`, 4 * planes, planes, 1)
      takeBatchNorm(shapes, `visual.${block}.bn1`, planes)
      takeBatchNorm(shapes, `visual.${block}.bn2`, planes)
      takeBatchNorm(shapes, `visual.${block}.bn3`, 4 * planes)
      if (b === 0) {
        conv(`${block}.downsample.0`, 4 * planes, input, 1)
        takeBatchNorm(shapes, `visual.${block}.downsample.1`, 4 * planes)
      }
      input = 4 * planes
    }
  shapes.set('visual.attnpool.positional_embedding', [1 + (v.image_size / 32) ** 2, input])
  for (const name of ['q_proj', 'k_proj', 'v_proj'])
    takeLinear(shapes, `visual.attnpool.${name}`, input, input)
  takeLinear(shapes, 'visual.attnpool.c_proj', embed_dim, input)
}

/** Names and shapes of open_clip's CLIP with this configuration. */
export function openclipShapes(config: OpenclipConfig): Shapes {
  const { vision_cfg: v, text_cfg: t, embed_dim: embed } = config
  const shapes: Shapes = new Map()
  if (Array.isArray(v.layers)) takeResnet(shapes, config)
  else {
    const patch = v.patch_size as number
    shapes.set('visual.class_embedding', [v.width])
    shapes.set('visual.positional_embedding', [1 + (v.image_size / patch) ** 2, v.width])
    shapes.set('visual.proj', [v.width, embed])
    shapes.set('visual.conv1.weight', [v.width, 3, patch, patch])
    if (!v.no_ln_pre) takeNorm(shapes, 'visual.ln_pre', v.width)
    takeBlocks(shapes, 'visual.transformer', v.width, v.layers, Math.trunc(v.width * (v.mlp_ratio ?? 4)))
    takeNorm(shapes, 'visual.ln_post', v.width)
  }
  shapes.set('positional_embedding', [t.context_length, t.width])
  shapes.set('text_projection', [t.width, embed])
  shapes.set('logit_scale', [])
  shapes.set('token_embedding.weight', [t.vocab_size, t.width])
  takeBlocks(shapes, 'transformer', t.width, t.layers, 4 * t.width)
  takeNorm(shapes, 'ln_final', t.width)
  return shapes
}

const product = (shape: number[]) => shape.reduce((a, b) => a * b, 1)

/** Parameters: all but batch norm's statistics and counters. */
export function countParameters(shapes: Shapes): number {
  let count = 0
  for (const [name, shape] of shapes)
    if (!/\.(running_mean|running_var|num_batches_tracked)$/.test(name)) count += product(shape)
  return count
}

/** Writes a safetensors file (F16, counters and `scalars` I64) whose data is zeros that take no room on the disk. */
export async function writeHollow(
  path: string,
  shapes: Shapes,
  scalars: Record<string, number> = {},
): Promise<void> {
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = {}
  let at = 0
  const add = (name: string, dtype: 'F16' | 'I64', shape: number[]) => {
    const bytes = product(shape) * (dtype === 'F16' ? 2 : 8)
    header[name] = { dtype, shape, data_offsets: [at, at + bytes] }
    at += bytes
  }
  // Eight-byte integers first, which keeps them aligned.
  for (const name of Object.keys(scalars)) add(name, 'I64', [])
  for (const [name, shape] of shapes) if (name.endsWith('num_batches_tracked')) add(name, 'I64', shape)
  for (const [name, shape] of shapes) if (!name.endsWith('num_batches_tracked')) add(name, 'F16', shape)
  let text = JSON.stringify(header)
  text = text.padEnd(Math.ceil(text.length / 8) * 8)
  const head = Buffer.alloc(8 + text.length + 8 * Object.keys(scalars).length)
  head.writeBigUInt64LE(BigInt(text.length))
  head.write(text, 8)
  Object.values(scalars).forEach((value, i) => {
    head.writeBigInt64LE(BigInt(value), 8 + text.length + 8 * i)
  })
  const file = await open(path, 'w')
  try {
    await file.write(head)
    await file.truncate(8 + text.length + at)
  } finally {
    await file.close()
  }
}

/** A folder as OpenCLIP pushes it to the hub. */
export async function writeHollowFolder(folder: string, config: OpenclipConfig): Promise<void> {
  await writeHollow(join(folder, 'open_clip_model.safetensors'), openclipShapes(config))
  await writeFile(join(folder, 'open_clip_config.json'), JSON.stringify({ model_cfg: config }))
}
