/**
 * Writes the ONNX files of a CLIP checkpoint, node for node as torch.onnx.export (opset 17) exports
 * transformers' CLIPVisionModelWithProjection and CLIPTextModelWithProjection: weights transposed at export,
 * dynamic batch and sequence axes. `int8` equals the result of onnxruntime's
 * quantize_dynamic(per_channel=True). docs/benchmarks.md compares its speed with that of the exporter's own
 * file.
 */

import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Graph } from './onnx-file.js'
import { resNet } from './onnx-resnet.js'
import { perChannel, perTensor, transposed, uint8Table } from './quantise.js'
import { type Checkpoint, openCheckpoint } from './safetensors.js'

interface TowerConfig {
  hidden_size: number
  num_hidden_layers: number
  num_attention_heads: number
  intermediate_size: number
  hidden_act: string
  layer_norm_eps: number
}

interface ClipConfig {
  projection_dim: number
  vision_config: TowerConfig & { image_size: number; patch_size: number }
  text_config: TowerConfig & { max_position_embeddings: number; eos_token_id: number }
}

export class Exporter {
  readonly graph = new Graph()
  /** DynamicQuantizeLinear of an activation: one node for all products that read the activation. */
  private readonly quantised = new Map<string, string[]>()

  constructor(
    readonly checkpoint: Checkpoint,
    private readonly int8: boolean,
  ) {}

  float(name: string): string {
    const { shape, data } = this.checkpoint.tensor(name)
    return this.graph.tensor(name, shape, 'float32', data)
  }

  private quantise(x: string): string[] {
    let q = this.quantised.get(x)
    if (!q) {
      q = this.graph.nodes('DynamicQuantizeLinear', [x], 3)
      this.quantised.set(x, q)
    }
    return q
  }

  /** x · weightᵀ. */
  matMul(x: string, weight: string, output?: string): string {
    const { graph } = this
    const { shape, data } = this.checkpoint.tensor(weight)
    const [out, inn] = shape as [number, number]
    if (!this.int8) {
      const w = graph.tensor(`${weight}_t`, [inn, out], 'float32', transposed(data, out, inn))
      return graph.node('MatMul', [x, w], {}, output)
    }
    const [q, scale, zero] = this.quantise(x) as [string, string, string]
    const w = perChannel(data, out, inn)
    const weightScale = graph.tensor(`${weight}_scale`, [out], 'float32', w.scale)
    const values = graph.tensor(`${weight}_quantized`, [inn, out], 'int8', w.values)
    const weightZero = graph.tensor(`${weight}_zero_point`, [out], 'int8', new Int8Array(out))
    const scales = graph.node('Mul', [scale, weightScale])
    const sum = graph.node('MatMulInteger', [q, values, zero, weightZero])
    return graph.node('Mul', [graph.node('Cast', [sum], { to: 1 }), scales], {}, output)
  }

  linear(x: string, name: string): string {
    return this.graph.node('Add', [this.float(`${name}.bias`), this.matMul(x, `${name}.weight`)])
  }

  norm(x: string, name: string, epsilon: number): string {
    return this.graph.node(
      'LayerNormalization',
      [x, this.float(`${name}.weight`), this.float(`${name}.bias`)],
      {
        axis: -1,
        epsilon: { float: epsilon },
      },
    )
  }

  /** Rows of an embedding table; quantize_dynamic converts tables to uint8. */
  gather(table: string, ids: string): string {
    const { graph } = this
    const { shape, data } = this.checkpoint.tensor(table)
    if (!this.int8) return graph.node('Gather', [graph.tensor(table, shape, 'float32', data), ids])
    const t = uint8Table(data)
    const values = graph.tensor(`${table}_quantized`, shape, 'uint8', t.values)
    const scale = graph.tensor(`${table}_scale`, [], 'float32', Float32Array.of(t.scale))
    const zero = graph.tensor(`${table}_zero_point`, [], 'uint8', Uint8Array.of(t.zero))
    return graph.node('DequantizeLinear', [graph.node('Gather', [values, ids]), scale, zero])
  }

  /** `data`: weights (out, in, kernel, kernel), with the sizes in `shape`. */
  convolution(
    x: string,
    weight: string,
    { shape, data, bias }: { shape: number[]; data: Float32Array; bias?: Float32Array },
    stride: number,
    pad = 0,
  ): string {
    const { graph } = this
    const [out, , kernel] = shape as [number, number, number]
    const attributes = {
      dilations: [1, 1],
      group: 1,
      kernel_shape: [kernel, kernel],
      pads: [pad, pad, pad, pad],
      strides: [stride, stride],
    }
    if (!this.int8) {
      const inputs = [x, graph.tensor(weight, shape, 'float32', data)]
      if (bias) inputs.push(graph.tensor(`${weight}_bias`, [out], 'float32', bias))
      return graph.node('Conv', inputs, attributes)
    }
    const [q, scale, zero] = this.quantise(x) as [string, string, string]
    const w = perTensor(data)
    const values = graph.tensor(`${weight}_quantized`, shape, 'int8', w.values)
    const weightScale = graph.tensor(`${weight}_scale`, [], 'float32', Float32Array.of(w.scale))
    const weightZero = graph.tensor(`${weight}_zero_point`, [], 'int8', Int8Array.of(0))
    const sum = graph.node('ConvInteger', [q, values, zero, weightZero], attributes)
    const y = graph.node('Mul', [
      graph.node('Cast', [sum], { to: 1 }),
      graph.node('Mul', [scale, weightScale]),
    ])
    if (!bias) return y
    return graph.node('Add', [y, graph.tensor(`${weight}_bias`, [1, out, 1, 1], 'float32', bias)])
  }

  private activation(x: string, kind: string): string {
    const { graph } = this
    if (kind === 'quick_gelu')
      return graph.node('Mul', [x, graph.node('Sigmoid', [graph.node('Mul', [x, graph.float(1.702)])])])
    const erf = graph.node('Erf', [graph.node('Div', [x, graph.float(Math.SQRT2)])])
    const sum = graph.node('Add', [erf, graph.float(1)])
    return graph.node('Mul', [graph.node('Mul', [x, sum]), graph.float(0.5)])
  }

  /** One encoder block; `mask` is added to the scores. */
  block(x: string, name: string, t: TowerConfig, mask?: string): string {
    const { graph } = this
    const dim = t.hidden_size / t.num_attention_heads
    const split = graph.ints([0, 0, t.num_attention_heads, dim])
    const normed = this.norm(x, `${name}.layer_norm1`, t.layer_norm_eps)
    const heads = (which: string, perm: number[]) =>
      graph.node(
        'Transpose',
        [graph.node('Reshape', [this.linear(normed, `${name}.self_attn.${which}`), split])],
        { perm },
      )
    const q = heads('q_proj', [0, 2, 1, 3])
    const k = heads('k_proj', [0, 2, 3, 1])
    const v = heads('v_proj', [0, 2, 1, 3])
    let scores = graph.node('Mul', [graph.node('MatMul', [q, k]), graph.float(dim ** -0.5)])
    if (mask) scores = graph.node('Add', [scores, mask])
    const mixed = graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), v])
    const joined = graph.node('Reshape', [
      graph.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }),
      graph.ints([0, 0, t.hidden_size]),
    ])
    const attended = graph.node('Add', [x, this.linear(joined, `${name}.self_attn.out_proj`)])
    const normed2 = this.norm(attended, `${name}.layer_norm2`, t.layer_norm_eps)
    const hidden = this.activation(this.linear(normed2, `${name}.mlp.fc1`), t.hidden_act)
    return graph.node('Add', [attended, this.linear(hidden, `${name}.mlp.fc2`)])
  }
}

function vision(e: Exporter, config: ClipConfig): Graph {
  const { graph } = e
  const c = config.vision_config
  const grid = Math.floor(c.image_size / c.patch_size)
  const pixels = graph.input('pixel_values', 'float32', ['batch', 3, c.image_size, c.image_size])
  const name = 'vision_model.embeddings'
  const patchWeight = `${name}.patch_embedding.weight`
  const conv = e.convolution(pixels, patchWeight, e.checkpoint.tensor(patchWeight), c.patch_size)
  const patches = graph.node(
    'Transpose',
    [graph.node('Reshape', [conv, graph.ints([0, c.hidden_size, grid * grid])])],
    { perm: [0, 2, 1] },
  )
  const batch = graph.node('Unsqueeze', [
    graph.node('Gather', [graph.node('Shape', [pixels]), graph.ints(0)], { axis: 0 }),
    graph.ints([0]),
  ])
  const shape = graph.node('Concat', [batch, graph.ints([1]), graph.ints([c.hidden_size])], { axis: 0 })
  const classToken = graph.node('Expand', [e.float(`${name}.class_embedding`), shape])
  const positions = graph.ints(Array.from({ length: grid * grid + 1 }, (_, i) => i))
  let x = graph.node('Add', [
    graph.node('Concat', [classToken, patches], { axis: 1 }),
    graph.node('Unsqueeze', [e.gather(`${name}.position_embedding.weight`, positions), graph.ints([0])]),
  ])
  x = e.norm(x, 'vision_model.pre_layrnorm', c.layer_norm_eps)
  for (let i = 0; i < c.num_hidden_layers; i++) x = e.block(x, `vision_model.encoder.layers.${i}`, c)
  const pooled = graph.node('Gather', [x, graph.ints(0)], { axis: 1 })
  const normed = e.norm(pooled, 'vision_model.post_layernorm', c.layer_norm_eps)
  graph.output(e.matMul(normed, 'visual_projection.weight', 'image_embeds'), 'float32', [
    'batch',
    config.projection_dim,
  ])
  return graph
}

function text(e: Exporter, config: ClipConfig): Graph {
  const { graph } = e
  const c = config.text_config
  const ids = graph.input('input_ids', 'int64', ['batch', 'sequence'])
  const size = (axis: number) =>
    graph.node('Gather', [graph.node('Shape', [ids]), graph.ints(axis)], { axis: 0 })
  const length = size(1)
  const name = 'text_model.embeddings'
  const range = graph.node('Range', [graph.ints(0), length, graph.ints(1)])
  let x = graph.node('Add', [
    e.gather(`${name}.token_embedding.weight`, ids),
    graph.node('Unsqueeze', [e.gather(`${name}.position_embedding.weight`, range), graph.ints([0])]),
  ])
  const seen = graph.node('LessOrEqual', [
    graph.node('Unsqueeze', [range, graph.ints([0])]),
    graph.node('Unsqueeze', [range, graph.ints([1])]),
  ])
  const mask = graph.node('Unsqueeze', [
    graph.node('Where', [seen, graph.float(0), graph.float(-3.4028234663852886e38)]),
    graph.ints([0, 1]),
  ])
  for (let i = 0; i < c.num_hidden_layers; i++) x = e.block(x, `text_model.encoder.layers.${i}`, c, mask)
  x = e.norm(x, 'text_model.final_layer_norm', c.layer_norm_eps)
  const isEnd = graph.node('Cast', [graph.node('Equal', [ids, graph.ints(c.eos_token_id)])], { to: 6 })
  const end = graph.node('ArgMax', [isEnd], { axis: -1, keepdims: 0, select_last_index: 0 })
  const starts = graph.node('Mul', [graph.node('Range', [graph.ints(0), size(0), graph.ints(1)]), length])
  const pooled = graph.node(
    'Gather',
    [graph.node('Reshape', [x, graph.ints([-1, c.hidden_size])]), graph.node('Add', [end, starts])],
    { axis: 0 },
  )
  graph.output(e.matMul(pooled, 'text_projection.weight', 'text_embeds'), 'float32', [
    'batch',
    config.projection_dim,
  ])
  return graph
}

export type OnnxTower = 'vision' | 'text'
export type OnnxDtype = 'float32' | 'int8'

/** Increased when the graphs change, so that old files are not used for new ones. */
const VERSION = 1

/** The ONNX file of one tower of the checkpoint in `folder` (<folder>/onnx/...); it is written if it does not exist. */
export async function onnxFile(folder: string, tower: OnnxTower, dtype: OnnxDtype): Promise<string> {
  const file = join(folder, 'onnx', `${tower}_model${dtype === 'int8' ? '_int8' : ''}-v${VERSION}.onnx`)
  if (existsSync(file)) return file
  process.stderr.write(`Writing ${file}\n`)
  await mkdir(join(folder, 'onnx'), { recursive: true })
  const names = ['model.safetensors', 'open_clip_model.safetensors']
  const checkpoint = await openCheckpoint(names.map(n => join(folder, n)).find(existsSync)!)
  const exporter = new Exporter(checkpoint, dtype === 'int8')
  if (checkpoint.names.includes('visual.attnpool.positional_embedding')) {
    await resNet(exporter).write(file)
    return file
  }
  const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as ClipConfig
  await (tower === 'vision' ? vision(exporter, config) : text(exporter, config)).write(file)
  return file
}
