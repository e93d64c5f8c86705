/**
 * The ONNX file of OpenAI's ModifiedResNet in the form in which torch.onnx.export exports it in eval mode:
 * batch norm folded into the convolutions, attention pooling by matrix products. `int8`: ConvInteger and
 * MatMulInteger, as quantize_dynamic generates them.
 */

import type { Exporter } from './onnx-clip.js'
import type { Graph } from './onnx-file.js'

const EPSILON = 1e-5

/** The convolution `conv` with the batch norm `norm` folded in, as by the exporter's constant folding. */
function convNorm(e: Exporter, x: string, conv: string, norm: string, stride = 1): string {
  const { shape, data } = e.checkpoint.tensor(`${conv}.weight`)
  const [out, , kernel] = shape as [number, number, number]
  const of = (part: string) => e.checkpoint.tensor(`${norm}.${part}`).data
  const [weight, beta, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map(of) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ]
  const folded = new Float32Array(data.length)
  const bias = new Float32Array(out)
  const perOut = data.length / out
  for (let o = 0; o < out; o++) {
    const scale = weight[o]! / Math.sqrt(variance[o]! + EPSILON)
    for (let i = o * perOut; i < (o + 1) * perOut; i++) folded[i] = data[i]! * scale
    bias[o] = beta[o]! - mean[o]! * scale
  }
  return e.convolution(x, `${conv}.weight`, { shape, data: folded, bias }, stride, kernel >> 1)
}

function bottleneck(e: Exporter, x: string, name: string, stride: number): string {
  const { graph } = e
  const relu = (y: string) => graph.node('Relu', [y])
  let y = relu(convNorm(e, x, `${name}.conv1`, `${name}.bn1`))
  y = relu(convNorm(e, y, `${name}.conv2`, `${name}.bn2`))
  if (stride > 1) y = averagePool(graph, y, stride)
  y = convNorm(e, y, `${name}.conv3`, `${name}.bn3`)
  if (!e.checkpoint.names.includes(`${name}.downsample.0.weight`)) return relu(graph.node('Add', [y, x]))
  const other = convNorm(
    e,
    stride > 1 ? averagePool(graph, x, stride) : x,
    `${name}.downsample.0`,
    `${name}.downsample.1`,
  )
  return relu(graph.node('Add', [y, other]))
}

const averagePool = (graph: Graph, x: string, size: number) =>
  graph.node('AveragePool', [x], {
    ceil_mode: 0,
    count_include_pad: 1,
    kernel_shape: [size, size],
    pads: [0, 0, 0, 0],
    strides: [size, size],
  })

/**
 * (batch, width, side, side) to (batch, embedDim): the query is the mean of all pixels; keys and values are
 * the pixels and the mean.
 */
function attentionPool(e: Exporter, x: string, pixels: number, width: number, heads: number): string {
  const { graph } = e
  const name = 'visual.attnpool'
  const dim = width / heads
  const rows = graph.node('Transpose', [graph.node('Reshape', [x, graph.ints([0, width, pixels])])], {
    perm: [2, 0, 1],
  })
  const mean = graph.node('ReduceMean', [rows], { axes: [0], keepdims: 1 })
  const position = graph.node('Unsqueeze', [e.float(`${name}.positional_embedding`), graph.ints([1])])
  const all = graph.node('Add', [graph.node('Concat', [mean, rows], { axis: 0 }), position])
  const query = graph.node('Gather', [all, graph.ints([0])], { axis: 0 })
  const split = (of: string, which: string, tokens: number, perm: number[]) =>
    graph.node(
      'Transpose',
      [graph.node('Reshape', [e.linear(of, `${name}.${which}`), graph.ints([tokens, -1, dim])])],
      { perm },
    )
  const q = graph.node('Mul', [split(query, 'q_proj', 1, [1, 0, 2]), graph.float(dim ** -0.5)])
  const k = split(all, 'k_proj', pixels + 1, [1, 2, 0])
  const v = split(all, 'v_proj', pixels + 1, [1, 0, 2])
  const mixed = graph.node('MatMul', [graph.node('Softmax', [graph.node('MatMul', [q, k])], { axis: -1 }), v])
  const joined = graph.node('Reshape', [
    graph.node('Transpose', [mixed], { perm: [1, 0, 2] }),
    graph.ints([-1, width]),
  ])
  return e.linear(joined, `${name}.c_proj`)
}

/** Sizes come from the shapes of the tensors; heads are 64 wide in all of OpenAI's models. */
export function resNet(e: Exporter): Graph {
  const { graph, checkpoint } = e
  const [positions, width] = checkpoint.tensor('visual.attnpool.positional_embedding').shape as [
    number,
    number,
  ]
  const [embedDim] = checkpoint.tensor('visual.attnpool.c_proj.weight').shape as [number]
  const side = Math.sqrt(positions - 1) * 32
  let x = graph.input('pixel_values', 'float32', ['batch', 3, side, side])
  for (const [i, stride] of [2, 1, 1].entries())
    x = graph.node('Relu', [convNorm(e, x, `visual.conv${i + 1}`, `visual.bn${i + 1}`, stride)])
  x = averagePool(graph, x, 2)
  for (let layer = 1; layer <= 4; layer++)
    for (let i = 0; checkpoint.names.includes(`visual.layer${layer}.${i}.conv1.weight`); i++)
      x = bottleneck(e, x, `visual.layer${layer}.${i}`, layer > 1 && i === 0 ? 2 : 1)
  const embeds = attentionPool(e, x, positions - 1, width, width / 64)
  graph.node('Identity', [embeds], {}, 'image_embeds')
  graph.output('image_embeds', 'float32', ['batch', embedDim])
  return graph
}
