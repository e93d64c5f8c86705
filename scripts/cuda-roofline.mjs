// The time that arithmetic and memory allow for a pass of ViT-B/32 on named GPUs, kernel by kernel. It is
// calculated from the shapes of the operations and the manufacturers' figures; nothing is measured.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './cuda-compile.mjs'

/**
 * Per second, without sparsity: `tensor`: FLOPs of bfloat16 products with float32 sums; `plain`: float32
 * FLOPs; and bytes of device memory.
 */
export const gpus = JSON.parse(readFileSync(join(root, 'cuda/gpus.json'), 'utf8'))

// Reads a number from a C++ header, where the choice between kernels is made.
function constant(file, name) {
  const text = readFileSync(join(root, 'cuda', file), 'utf8')
  return Number(new RegExp(`\\b${name} = (\\d+)`).exec(text)[1])
}
const square = constant('linear.h', 'kSquare')
const busyBlocks = constant('linear.h', 'kBusyBlocks')
const f32 = 4
const b16 = 2

/** The launches of a pass in the order of native/model/: kernel, FLOPs, bytes, and whether it uses tensor cores. */
class Pass {
  launches = []

  #add(kernel, flops, bytes, tensor = false) {
    this.launches.push({ kernel, flops, bytes, tensor })
  }
  /** x, y: bytes per number. */
  linear(rows, input, output, { y = b16, bias = true, residual = false, x = b16 } = {}) {
    const blocks = Math.ceil(rows / square) * Math.ceil(output / square)
    const kernel =
      x === f32 ? 'clip_linear_float32' : `clip_linear_bfloat16_${blocks < busyBlocks ? 'skinny' : 'square'}`
    const weights = x * input * output + (bias ? f32 * output : 0)
    const bytes = weights + rows * (x * input + y * output + (residual ? f32 * output : 0))
    this.#add(kernel, 2 * rows * input * output, bytes, x !== f32)
  }
  // A value is added for the mean; its difference is squared and added; then it is subtracted, scaled twice
  // and shifted: 1 + 3 + 4.
  layerNorm(rows, cols, y = b16) {
    this.#add('clip_layer_norm', 8 * rows * cols, rows * cols * (f32 + y) + 2 * f32 * cols)
  }
  gather(rows, cols) {
    this.#add('clip_gather', 0, 2 * f32 * rows * cols)
  }
  // A token table of float32.
  embed(rows, cols) {
    this.#add('clip_embed', rows * cols, 3 * f32 * rows * cols)
  }
  // Values come from a table, so there is no arithmetic.
  patches(images, side) {
    this.#add('clip_patches', 0, images * side * side * 3 * (1 + b16))
  }
  normalise(rows, cols) {
    this.#add('clip_normalise', 3 * rows * cols, 2 * f32 * rows * cols)
  }
  groups(rows, sequences) {
    this.#add('clip_attention_groups', 0, 4 * rows + 24 * sequences)
  }
  /** pairs: (query, key) pairs of a head; 64 columns to a head. */
  attention(queries, rows, width, pairs) {
    this.#add('clip_attention_bfloat16_64', 4 * pairs * width, b16 * width * 2 * (queries + rows), true)
  }

  /**
   * lengths: of the sequences; rows: those of the sequences and padding. In the last block there is only one
   * row per sequence.
   */
  blocks(layers, width, rows, sequences, length, causal) {
    const mlp = 4 * width
    const pairs = sequences * (causal ? (length * (length + 1)) / 2 : length * length)
    const half = n => {
      this.linear(n, width, width, { y: f32, residual: true })
      this.layerNorm(n, width)
      this.linear(n, width, mlp)
      this.linear(n, mlp, width, { y: f32, residual: true })
    }
    for (let i = 0; i + 1 < layers; i++) {
      this.layerNorm(rows, width)
      this.linear(rows, width, 3 * width)
      if (i === 0) this.groups(rows, sequences)
      this.attention(rows, rows, width, pairs)
      half(rows)
    }
    this.layerNorm(rows, width)
    this.linear(rows, width, 2 * width)
    this.gather(sequences, width)
    this.layerNorm(sequences, width)
    this.linear(sequences, width, width)
    this.groups(rows, sequences)
    this.attention(sequences, rows, width, sequences * length)
    half(sequences)
    this.layerNorm(sequences, width, f32)
    this.linear(sequences, width, 512, { x: f32, y: f32, bias: false })
    this.normalise(sequences, 512)
  }
}

function images(count) {
  const [width, tokens, patch, side] = [768, 50, 32, 224]
  const pass = new Pass()
  pass.patches(count, side)
  pass.gather(1, width)
  pass.linear(count * (tokens - 1), 3 * patch * patch, width, { y: f32, bias: false })
  pass.embed(count * tokens, width)
  pass.layerNorm(count * tokens, width, f32)
  pass.blocks(12, width, count * tokens, count, tokens, false)
  return pass.launches
}

/** One text; rows: its tokens, padded to the next size for which graphs are recorded. */
function text(tokens, rows) {
  const pass = new Pass()
  pass.embed(rows, 512)
  pass.blocks(12, 512, rows, 1, tokens, true)
  return pass.launches
}

const time = (gpu, { flops, bytes, tensor }) =>
  Math.max(flops / (tensor ? gpu.tensor : gpu.plain), bytes / gpu.bytes)

function table(title, launches) {
  const lines = [
    `### ${title}`,
    '',
    `| kernel | launches | GFLOP | MB | ${gpus.map(gpu => `${gpu.name}, us`).join(' | ')} |`,
    `|---|---|---|---|${gpus.map(() => '---').join('|')}|`,
  ]
  const row = (name, of) => {
    const sum = f => of.reduce((total, launch) => total + f(launch), 0)
    const times = gpus.map(gpu => (sum(launch => time(gpu, launch)) * 1e6).toFixed(2))
    const work = [sum(l => l.flops) / 1e9, sum(l => l.bytes) / 1e6].map(n => n.toFixed(3))
    lines.push(`| ${name} | ${of.length} | ${work.join(' | ')} | ${times.join(' | ')} |`)
  }
  for (const kernel of [...new Set(launches.map(launch => launch.kernel))].sort())
    row(
      kernel,
      launches.filter(launch => launch.kernel === kernel),
    )
  row('the pass', launches)
  return [...lines, '']
}

/** The section of the report, as lines. */
export function roofline() {
  return [
    '## What arithmetic and memory allow',
    '',
    'Calculated, not measured: for each launch of a pass of ViT-B/32 in bfloat16, the larger of FLOPs / peak and',
    'bytes / bandwidth, summed by kernel. A kernel whose data comes from device memory cannot be faster; all take',
    'longer. FLOPs count only useful arithmetic, without padding inside a tile and without the exponentials of',
    'attention; bytes count inputs and outputs, once per launch. Not counted are the cost of starting a launch',
    '(microseconds, most of which a graph saves), the savings of caches between launches, and the partial sums of',
    '`_skinny` kernels (which stay in the L2 cache). The peaks of H100 and B200 are those of newer instructions than',
    '`mma.sync`, which our kernels use on every architecture, so they can only reach a part of the peak there. The',
    "rates (cuda/gpus.json) are those of the manufacturers' public data sheets; they were neither measured nor checked",
    'again for this report.',
    '',
    '| GPU | bfloat16 TFLOPS | float32 TFLOPS | GB/s | source |',
    '|---|---|---|---|---|',
    ...gpus.map(
      gpu =>
        `| ${gpu.name} | ${gpu.tensor / 1e12} | ${gpu.plain / 1e12} | ${gpu.bytes / 1e9} | ${gpu.source} |`,
    ),
    '',
    ...[1, 8, 64].flatMap(n => table(`Image tower, batch ${n}`, images(n))),
    ...table('Text tower, one text of 10 tokens (12 rows, 2 of them padding)', text(10, 12)),
  ]
}
