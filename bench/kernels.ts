/**
 * The kernels one by one, at the shapes of the real models: time, rate, and percent of the peak measured on
 * this machine.
 */

import { devices } from '../lib/index.js'
import * as kernels from '../lib/kernels.js'
import { binding } from '../lib/native/addon.js'
import type { NativeCase } from '../lib/native/surface.js'
import { testEntries } from '../lib/native/test-entries.js'
import { agree, figures, measure, type Result, type Task } from './suite.js'

export interface KernelOptions {
  threads: number
  seconds: number
  /** Selects only tasks whose name contains one of these words; all if there are none. */
  wanted: (name: string) => boolean
  done: (r: Result) => void
}

function random(n: number, seed: number): Float32Array {
  const x = new Float32Array(n)
  let state = seed
  for (let i = 0; i < n; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    x[i] = state / 2 ** 31
  }
  return x
}

/** The sizes of an op's cases that are also timed on GPUs: native/ops. */
const timed = (op: string): NativeCase[] =>
  testEntries()
    .measure.cases({ op })
    .filter(c => c.timed)

export type ComputeDtype = 'float32' | 'bfloat16' | 'int8'

/** Operations per second of all threads; the float32 peak if the processor lacks the instruction. */
export async function peakOf(dtype: ComputeDtype, threads: number): Promise<number> {
  const { measure: native } = testEntries()
  return ((await native.peak({ dtype })) || (await native.peak({ dtype: 'float32' }))) * threads
}

/** The dtypes that the chosen CPU backend supports. */
export function dtypesHere(): ComputeDtype[] {
  const backend = devices()
    .find(d => d.name === 'cpu')
    ?.backends.find(b => b.available && binding().active().startsWith(b.name))
  return (['float32', 'bfloat16', 'int8'] as const).filter(
    d => backend?.dtypes.includes(d) ?? d === 'float32',
  )
}

interface LinearShape {
  rows: number
  inFeatures: number
  outFeatures: number
  dtype: ComputeDtype
  weightDtype: ComputeDtype | 'float16'
  threads: number
}

/**
 * Throws unless the timed backend computes the same as the reference at this shape. A few rows suffice,
 * because rows do not depend on each other. Factors are at most 1, so the error of a sum of n products is
 * about sqrt(n) roundings of n.
 */
async function checkLinear(name: string, { rows, ...shape }: LinearShape): Promise<void> {
  const { inFeatures, outFeatures } = shape
  const few = Math.min(rows, 7)
  const weight = random(inFeatures * outFeatures, 2)
  // Multiples of 1/1024 up to 1 are exact in float16.
  if (shape.weightDtype === 'float16')
    for (let i = 0; i < weight.length; i++) weight[i] = Math.round(weight[i]! * 1024) / 1024
  const on = async (backend: string | undefined) => {
    const out = new Float32Array(few * outFeatures)
    const x = random(few * inFeatures, 1)
    await binding().kernels.linear({ ...shape, x, weight, out, rows: few, activation: 'none', backend })
    return out
  }
  agree(name, await on(undefined), await on('reference'), Math.sqrt(inFeatures) * 2 ** -24 * inFeatures)
}

/**
 * linear as a model runs it: with weights packed once and read from memory. Native code measures the times.
 */
async function linearTasks(o: KernelOptions): Promise<void> {
  for (const kind of [...dtypesHere(), 'float16 weights'] as const) {
    const dtype = kind === 'float16 weights' ? 'float32' : kind
    const weightDtype: 'float16' | ComputeDtype = kind === 'float16 weights' ? 'float16' : kind
    const peak = await peakOf(dtype, o.threads)
    for (const { name: what, sizes } of timed('linear')) {
      const { rows, inFeatures, outFeatures } = sizes as unknown as LinearShape
      const name = `linear ${kind} ${what} ${rows} x ${inFeatures} x ${outFeatures}`
      if (!o.wanted(name)) continue
      await checkLinear(name, { rows, inFeatures, outFeatures, dtype, weightDtype, threads: o.threads })
      const operations = 2 * rows * inFeatures * outFeatures
      const copies = Math.max(1, Math.ceil(100e6 / (inFeatures * outFeatures * 4)))
      const count = Math.max(20, Math.min(2000, Math.round((o.seconds * 1e9) / (operations / (peak / 1e9)))))
      const times = new Float32Array(count)
      const args = {
        rows,
        inFeatures,
        outFeatures,
        dtype,
        weightDtype,
        threads: o.threads,
        copies,
        backend: undefined,
      }
      const backend = await testEntries().measure.linear({ ...args, times })
      const task = { name, operations, peak, dtype, threads: o.threads, backend }
      o.done(
        figures(
          'kernels',
          task,
          [...times].slice(copies).map(ms => ms * 1e6),
          count,
        ),
      )
    }
  }
}

/** The public float32 kernels, called through the binding. */
export async function kernelTasks(o: KernelOptions): Promise<void> {
  await linearTasks(o)
  const { threads } = o
  const peak = await peakOf('float32', threads)
  const tasks: Task[] = []
  for (const { name: what, sizes } of timed('attention')) {
    const { sequences, length, heads, headDim, mask } = sizes as Record<
      'sequences' | 'length' | 'heads' | 'headDim' | 'mask',
      number
    >
    const causal = mask === 1
    const n = sequences * length * heads * headDim
    const a = {
      q: random(n, 1),
      k: random(n, 2),
      v: random(n, 3),
      sequences,
      length,
      heads,
      headDim,
      threads,
    }
    const f = causal ? kernels.causalAttention : kernels.attention
    const out = new Float32Array(n)
    tasks.push({
      name: `${causal ? 'causalAttention' : 'attention'} ${what} ${sequences} x ${length} x ${heads} x ${headDim}`,
      run: () => f({ ...a, out }),
      // With the causal mask, rows see half of the square.
      operations: 4 * sequences * heads * headDim * (causal ? (length * (length + 1)) / 2 : length * length),
      peak,
      check: async () => agree('attention', await f(a), await f({ ...a, backend: 'reference' }), 1e-4),
    })
  }
  const { kernels: ops } = testEntries()
  const backend = undefined
  for (const { name: what, sizes } of timed('depthwiseConv')) {
    const {
      height,
      width,
      channels,
      multiplier,
      kernel,
      stride,
      pad,
      activation = 0,
    } = sizes as Record<string, number>
    const outChannels = channels! * multiplier!
    const side = (n: number) => Math.floor((n + 2 * pad! - kernel!) / stride!) + 1
    const numbers = side(height!) * side(width!) * outChannels
    const a = {
      ...{ images: 1, height: height!, width: width!, channels: channels!, multiplier: multiplier! },
      ...{
        kernel: kernel!,
        stride: stride!,
        pad: pad!,
        activation: activation ? ('gelu' as const) : ('none' as const),
        threads,
      },
      x: random(height! * width! * channels!, 13),
      weight: random(kernel! ** 2 * outChannels, 14),
      bias: random(outChannels, 15),
    }
    const out = new Float32Array(numbers)
    tasks.push({
      name: `depthwiseConv ${what} ${height} x ${width} x ${channels} to ${outChannels} by ${kernel} x ${kernel}`,
      run: () => ops.depthwiseConv({ ...a, out, backend }),
      operations: 2 * numbers * kernel! ** 2,
      peak,
      check: async () => {
        const want = new Float32Array(numbers)
        await ops.depthwiseConv({ ...a, out, backend })
        await ops.depthwiseConv({ ...a, out: want, backend: 'reference' })
        agree('depthwiseConv', out, want, 1e-4)
      },
    })
  }
  for (const { sizes } of timed('channelGate')) {
    const { rows, cols, rowsPerGate } = sizes as { rows: number; cols: number; rowsPerGate: number }
    const a = {
      ...{ rows, cols, rowsPerGate, activation: 'gelu' as const, threads },
      x: random(rows * cols, 16),
      gate: random(Math.ceil(rows / rowsPerGate) * cols, 17),
    }
    const out = new Float32Array(rows * cols)
    tasks.push({
      name: `channelGate ${rows} x ${cols}`,
      run: () => ops.channelGate({ ...a, out, backend }),
      bytes: 8 * rows * cols,
      check: async () => {
        const want = new Float32Array(rows * cols)
        await ops.channelGate({ ...a, out, backend })
        await ops.channelGate({ ...a, out: want, backend: 'reference' })
        agree('channelGate', out, want, 1e-5)
      },
    })
  }
  for (const { sizes } of timed('layerNorm')) {
    const { rows, cols } = sizes as { rows: number; cols: number }
    const a = {
      x: random(rows * cols, 4),
      weight: random(cols, 5),
      bias: random(cols, 6),
      rows,
      cols,
      threads,
    }
    const out = new Float32Array(rows * cols)
    tasks.push({
      name: `layerNorm ${rows} x ${cols}`,
      run: () => kernels.layerNorm({ ...a, out }),
      bytes: 8 * rows * cols,
      check: async () =>
        agree(
          'layerNorm',
          await kernels.layerNorm(a),
          await kernels.layerNorm({ ...a, backend: 'reference' }),
          1e-4,
        ),
    })
  }
  // Ops of the towers that have no public kernel.
  const own = testEntries().kernels
  const on = (backend?: string) => ({ threads, backend })
  for (const { name: what, sizes } of timed('rope')) {
    const { rows, heads, dim } = sizes as { rows: number; heads: number; dim: number }
    const a = {
      x: random(rows * heads * dim, 11),
      table: random(rows * 2 * dim, 12),
      position: Int32Array.from({ length: rows }, (_, r) => r),
      rows,
      heads,
      dim,
    }
    const out = new Float32Array(a.x.length)
    const want = new Float32Array(a.x.length)
    tasks.push({
      name: `rope ${what} ${rows} x ${heads} x ${dim}`,
      run: () => own.rope({ ...a, out, ...on() }),
      bytes: 8 * rows * heads * dim,
      check: async () => {
        await own.rope({ ...a, out, ...on() })
        await own.rope({ ...a, out: want, ...on('reference') })
        agree('rope', out, want, 1e-5)
      },
    })
  }
  for (const { name: what, sizes } of timed('gate')) {
    const { rows, cols, activation } = sizes as { rows: number; cols: number; activation: number }
    const kind = (['silu', 'gelu'] as const)[activation]!
    const a = { a: random(rows * cols, 13), b: random(rows * cols, 14), rows, cols, activation: kind }
    const out = new Float32Array(rows * cols)
    const want = new Float32Array(rows * cols)
    tasks.push({
      name: `gate ${kind} ${what} ${rows} x ${cols}`,
      run: () => own.gate({ ...a, out, ...on() }),
      bytes: 12 * rows * cols,
      check: async () => {
        await own.gate({ ...a, out, ...on() })
        await own.gate({ ...a, out: want, ...on('reference') })
        agree('gate', out, want, 1e-5)
      },
    })
  }
  for (const { sizes } of timed('softmaxCrossEntropy')) {
    const { rows, cols, scale } = sizes as { rows: number; cols: number; scale: number }
    const a = {
      logits: random(rows * cols, 10).map(v => v * scale),
      targets: Int32Array.from({ length: rows }, (_, r) => (r * 31) % cols),
      rows,
      cols,
      threads,
    }
    const out = { loss: new Float32Array(rows), gradient: new Float32Array(rows * cols) }
    tasks.push({
      name: `softmaxCrossEntropy ${rows} x ${cols}`,
      run: () => kernels.softmaxCrossEntropy({ ...a, out }),
      bytes: 12 * rows * cols,
      check: async () => {
        const [got, want] = [
          await kernels.softmaxCrossEntropy(a),
          await kernels.softmaxCrossEntropy({ ...a, backend: 'reference' }),
        ]
        agree('softmaxCrossEntropy', got.loss, want.loss, 1e-4)
        agree('softmaxCrossEntropy', got.gradient!, want.gradient!, 1e-6)
      },
    })
  }
  for (const { sizes } of timed('cosineSoftmax')) {
    const { rows, classCount, dim } = sizes as { rows: number; classCount: number; dim: number }
    const a = {
      queries: random(rows * dim, 7),
      classes: random(classCount * dim, 8),
      rows,
      classCount,
      dim,
      threads,
    }
    const few = { ...a, classes: a.classes.subarray(0, 1000 * dim), classCount: 1000 }
    tasks.push({
      name: `cosineTopK ${rows} x ${classCount} x ${dim}`,
      run: () => kernels.cosineTopK({ ...a, k: 5 }),
      bytes: 4 * classCount * dim,
      check: async () =>
        agree(
          'cosineTopK',
          (await kernels.cosineTopK({ ...few, k: 5 })).index,
          (await kernels.cosineTopK({ ...few, k: 5, backend: 'reference' })).index,
          0,
        ),
    })
    tasks.push({
      name: `cosineSoftmax ${rows} x ${classCount} x ${dim}`,
      run: () => kernels.cosineSoftmax(a),
      operations: 2 * rows * classCount * dim,
      peak,
      check: async () =>
        agree(
          'cosineSoftmax',
          await kernels.cosineSoftmax(few),
          await kernels.cosineSoftmax({ ...few, backend: 'reference' }),
          1e-4,
        ),
    })
  }
  for (const { name: what, sizes } of timed('resize')) {
    const { width, height, outWidth, outHeight } = sizes as Record<
      'width' | 'height' | 'outWidth' | 'outHeight',
      number
    >
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 2654435761) >>> 24)
    const a = { data, width, height, channels: 3, outWidth, outHeight, threads }
    tasks.push({
      name: `resizeBicubic ${what} to ${outWidth}x${outHeight}`,
      run: () => kernels.resizeBicubic(a),
      bytes: data.length,
      check: async () => {
        if (width * height > 2e6) return // the reference takes seconds; the smaller images run the same code
        agree(
          'resize',
          await kernels.resizeBicubic(a),
          await kernels.resizeBicubic({ ...a, backend: 'reference' }),
          0,
        )
      },
    })
  }
  for (const task of tasks)
    if (o.wanted(task.name))
      o.done(
        await measure(
          'kernels',
          { ...task, threads, dtype: 'float32', backend: binding().active() },
          o.seconds,
        ),
      )
}
