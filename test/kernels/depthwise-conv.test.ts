/** Depthwise convolution and the gate of channels, which have no public kernel: test hooks of the binding. */

import test from 'ava'
import { testEntries } from '../../lib/native/test-entries.js'
import { canaryFloats } from '../helpers/canary.js'
import { activations, casesOf } from '../helpers/cases.js'
import { bound, close, largest, sameBytes } from '../helpers/close.js'
import { eachBackend } from '../helpers/each-backend.js'
import { lackingEntries } from '../helpers/entries-test.js'
import { toBfloat16s } from '../helpers/narrow.js'
import { normal } from '../helpers/random.js'

type Activation = 'none' | 'gelu'
const wordOf = (activation: number) => activations[activation] as Activation

const cases = casesOf('depthwiseConv', {
  images: 0,
  height: 0,
  width: 0,
  channels: 0,
  multiplier: 0,
  kernel: 0,
  stride: 0,
  pad: 0,
  activation: 0,
}).map(c => ({ ...c, activation: wordOf(c.activation) }))
type Shape = Omit<(typeof cases)[number], 'name' | 'lists'>

const outPixels = ({ height, width, kernel, stride, pad }: Shape) =>
  (Math.floor((height + 2 * pad - kernel) / stride) + 1) *
  (Math.floor((width + 2 * pad - kernel) / stride) + 1)

function inputs(s: Shape) {
  const out = s.channels * s.multiplier
  return {
    ...s,
    x: normal(1, s.images * s.height * s.width * s.channels),
    weight: normal(2, s.kernel ** 2 * out, 1 / s.kernel),
    bias: normal(3, out),
  }
}

eachBackend(
  'depthwiseConv agrees with the reference',
  cases,
  async (t, on, { name: _, lists: __, ...shape }) => {
    const a = inputs(shape)
    const out = shape.channels * shape.multiplier
    const one = outPixels(shape) * out
    const got = canaryFloats(shape.images * one)
    const want = new Float32Array(got.array.length)
    await on.run('depthwiseConv', { ...a, out: got.array, threads: 2 })
    await on.reference('depthwiseConv', { ...a, out: want })
    const taps = shape.kernel ** 2
    // A sum has the bias and `taps` products, each at most the largest of x times that of the weights. GELU's slope is
    // below 1.2, and its own arithmetic is good to 8 roundings of its argument.
    const norms = Math.sqrt(taps) * largest(a.x) * Math.sqrt(taps) * largest(a.weight) + largest(a.bias)
    close(
      t,
      got.array,
      want,
      bound(taps + 1, 1.2 * on.epsilon, norms) + 8 * on.epsilon * largest(want),
      'out',
    )
    got.check(t)
    const narrow = new Uint16Array(want.length)
    await on.run('depthwiseConv', { ...a, out: narrow, outDtype: 'bfloat16' })
    sameBytes(t, narrow, toBfloat16s(got.array), 'bfloat16')
    // Each image alone, on one thread and on three: the same bits.
    const size = shape.height * shape.width * shape.channels
    for (let i = 0; i < shape.images; i++)
      for (const threads of [1, 3]) {
        const alone = new Float32Array(one)
        const x = a.x.subarray(i * size, (i + 1) * size)
        await on.run('depthwiseConv', { ...a, images: 1, x, out: alone, threads })
        sameBytes(t, alone, got.array.subarray(i * one, (i + 1) * one), `image ${i}, ${threads} threads`)
      }
  },
)

// Integers, whose sums are exact, so the definition decides and not a tolerance.
const definitionTitle = 'the reference computes the depthwise convolution by its definition'
const definition = [
  { kernel: 3, stride: 1, multiplier: 2 },
  { kernel: 7, stride: 2, multiplier: 1 },
] as const
if (lackingEntries) test.skip(`${definitionTitle} (${lackingEntries})`, () => undefined)
else
  for (const { kernel, stride, multiplier } of definition)
    test(`${definitionTitle}: kernel ${kernel}, stride ${stride}, multiplier ${multiplier}`, async t => {
      const [height, width, channels, pad] = [8, 9, 3, (kernel - 1) / 2]
      const outs = channels * multiplier
      const whole = (seed: number, n: number) => normal(seed, n).map(v => Math.round(4 * v))
      const x = whole(1, height * width * channels)
      const weight = whole(2, kernel ** 2 * outs)
      const bias = whole(3, outs)
      const [high, wide] = [height, width].map(side => Math.floor((side + 2 * pad - kernel) / stride) + 1)
      const want = new Float32Array(high * wide * outs)
      for (let i = 0; i < want.length; i++) {
        const [o, ox, oy] = [i % outs, Math.floor(i / outs) % wide, Math.floor(i / outs / wide)]
        want[i] = bias[o]
        for (let y = 0; y < height; y++)
          for (let c = 0; c < width; c++) {
            const [ky, kx] = [y + pad - oy * stride, c + pad - ox * stride]
            if (ky >= 0 && ky < kernel && kx >= 0 && kx < kernel)
              want[i] +=
                x[(y * width + c) * channels + Math.floor(o / multiplier)] *
                weight[(ky * kernel + kx) * outs + o]
          }
      }
      const out = new Float32Array(want.length)
      const shape = { images: 1, height, width, channels, multiplier, kernel, stride, pad }
      await testEntries().kernels.depthwiseConv({
        ...shape,
        x,
        weight,
        bias,
        out,
        activation: 'none',
        threads: 1,
        backend: 'reference',
      })
      sameBytes(t, out, want)
    })

eachBackend(
  'depthwiseConv passes a NaN to the pixels around it, in its channel and no other',
  [{ name: 'pixel (2, 3), channel 5' }],
  async (t, on) => {
    const shape = {
      images: 2,
      height: 9,
      width: 10,
      channels: 19,
      multiplier: 2,
      kernel: 7,
      stride: 1,
      pad: 3,
      activation: 'gelu' as const,
    }
    const a = inputs(shape)
    a.x[((9 + 2) * 10 + 3) * 19 + 5] = Number.NaN // of the second image
    const out = new Float32Array(2 * 9 * 10 * 38)
    await on.run('depthwiseConv', { ...a, out })
    for (let i = 0; i < out.length; i++) {
      const [channel, pixel] = [i % 38, Math.floor(i / 38)]
      const [image, y, x] = [Math.floor(pixel / 90), Math.floor(pixel / 10) % 9, pixel % 10]
      const near = image === 1 && Math.abs(y - 2) <= 3 && Math.abs(x - 3) <= 3 && channel >> 1 === 5
      if (Number.isNaN(out[i]) !== near)
        t.fail(`channel ${channel} of pixel (${image}, ${y}, ${x}) is ${out[i]}`)
    }
    t.pass()
  },
)

eachBackend(
  'channelGate agrees with the reference',
  casesOf('channelGate', { rows: 0, cols: 0, rowsPerGate: 0, activation: 0 }),
  async (t, on, { rows, cols, rowsPerGate, activation }) => {
    const gates = Math.ceil(rows / rowsPerGate)
    const a = {
      x: normal(1, rows * cols),
      gate: normal(2, gates * cols),
      rows,
      cols,
      rowsPerGate,
      activation: wordOf(activation),
    }
    const got = canaryFloats(rows * cols)
    const want = new Float32Array(rows * cols)
    await on.run('channelGate', { ...a, out: got.array, threads: 2 })
    await on.reference('channelGate', { ...a, out: want })
    // One product, whose error GELU multiplies by at most 1.2, and GELU's own arithmetic.
    close(t, got.array, want, i => {
      const gate = a.gate[Math.floor(Math.floor(i / cols) / rowsPerGate) * cols + (i % cols)]
      return 12 * on.epsilon * Math.abs(a.x[i] * gate) + 2 ** -148
    })
    if (activation === 0) sameBytes(t, got.array, want)
    got.check(t)
    const narrow = new Uint16Array(rows * cols)
    await on.run('channelGate', { ...a, out: narrow, outDtype: 'bfloat16' })
    sameBytes(t, narrow, toBfloat16s(got.array), 'bfloat16')
    // In place and with one thread; and the first gate's rows alone.
    const inPlace = a.x.slice()
    await on.run('channelGate', { ...a, x: inPlace, out: inPlace, threads: 1 })
    sameBytes(t, inPlace, got.array, 'in place')
    const few = Math.min(rows, rowsPerGate)
    const alone = new Float32Array(few * cols)
    await on.run('channelGate', {
      ...a,
      x: a.x.subarray(0, few * cols),
      gate: a.gate.subarray(0, cols),
      rows: few,
      out: alone,
    })
    sameBytes(t, alone, got.array.subarray(0, few * cols), 'the first gate alone')
  },
)

eachBackend(
  'channelGate keeps a NaN of a gate in its channel',
  [{ name: 'the second gate' }],
  async (t, on) => {
    const a = {
      x: normal(1, 6 * 20),
      gate: normal(2, 3 * 20),
      rows: 6,
      cols: 20,
      rowsPerGate: 2,
      activation: 'gelu' as const,
    }
    a.gate[20 + 7] = Number.NaN
    const out = new Float32Array(6 * 20)
    await on.run('channelGate', { ...a, out })
    out.forEach((v, i) => {
      t.is(Number.isNaN(v), i % 20 === 7 && i >= 40 && i < 80, `element ${i}: ${v}`)
    })
  },
)
