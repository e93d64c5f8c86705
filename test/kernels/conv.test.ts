/** Convolution and average pooling, which have no public kernel: test hooks of the binding. */

import { canaryFloats } from '../helpers/canary.js'
import { activations, casesOf } from '../helpers/cases.js'
import { bound, close, largest, largestNorm, sameBytes } from '../helpers/close.js'
import { eachBackend, needs } from '../helpers/each-backend.js'
import { toBfloat16s } from '../helpers/narrow.js'
import { normal } from '../helpers/random.js'

interface Shape {
  images: number
  height: number
  width: number
  inChannels: number
  outChannels: number
  kernel: number
  stride: number
  pad: number
  activation: 'none' | 'gelu' | 'relu'
}

const sides = ({ height, width, kernel, stride, pad }: Shape) =>
  [height, width].map(side => Math.floor((side + 2 * pad - kernel) / stride) + 1)
const outPixels = (s: Shape) => sides(s)[0] * sides(s)[1]

function inputs(s: Shape) {
  const columns = s.kernel * s.kernel * s.inChannels
  return {
    ...s,
    x: normal(1, s.images * s.height * s.width * s.inChannels),
    weight: normal(2, s.outChannels * columns, 1 / Math.sqrt(columns)),
    bias: normal(3, s.outChannels),
  }
}

const convs = casesOf('conv', {
  images: 0,
  height: 0,
  width: 0,
  inChannels: 0,
  outChannels: 0,
  kernel: 0,
  stride: 0,
  pad: 0,
  activation: activations.indexOf('relu'),
}).map(c => ({ ...c, activation: activations[c.activation] as Shape['activation'] }))

eachBackend('conv agrees with the reference', convs, async (t, on, { name: _, ...shape }) => {
  const a = inputs(shape)
  const n = shape.images * outPixels(shape) * shape.outChannels
  const got = canaryFloats(n)
  const want = new Float32Array(n)
  await on.run('conv', { ...a, out: got.array })
  await on.reference('conv', { ...a, out: want })
  const columns = shape.kernel * shape.kernel * shape.inChannels
  // A window is kernel² pixels, each no longer than the longest.
  const window = shape.kernel * largestNorm(a.x, shape.inChannels)
  const sum = bound(columns + 1, on.epsilon, window * largestNorm(a.weight, columns))
  close(t, got.array, want, sum + 4 * on.epsilon * largest(want), 'out')
  got.check(t)
  if (shape.activation !== 'relu') {
    t.true(got.array.some(v => v < 0))
    return
  }
  // Nothing is below zero, and both sides of it occur.
  if (n > 20) t.true(want.some(v => v === 0) && want.some(v => v > 0))
  t.true(got.array.every(v => v >= 0))
})

const small = {
  images: 2,
  height: 6,
  width: 7,
  inChannels: 20,
  outChannels: 35,
  kernel: 3,
  stride: 1,
  pad: 1,
  activation: 'relu' as const,
}

eachBackend(
  'conv passes a NaN to the pixels around it and no others',
  [{ name: 'pixel (2, 3)' }],
  async (t, on) => {
    const a = inputs(small)
    const { height, width, inChannels, outChannels } = small
    a.x[((height + 2) * width + 3) * inChannels + 11] = Number.NaN // of the second image
    const out = new Float32Array(2 * height * width * outChannels)
    await on.run('conv', { ...a, out })
    for (let i = 0; i < out.length; i++) {
      const pixel = Math.floor(i / outChannels)
      const [image, y, x] = [
        Math.floor(pixel / (height * width)),
        Math.floor(pixel / width) % height,
        pixel % width,
      ]
      const near = image === 1 && Math.abs(y - 2) <= 1 && Math.abs(x - 3) <= 1
      if (Number.isNaN(out[i]) !== near) t.fail(`element ${i} of pixel (${image}, ${y}, ${x}) is ${out[i]}`)
    }
    t.pass()
  },
)

eachBackend(
  'conv gives an image the same bits in every batch',
  [
    { name: 'kernel 3', ...small, images: 7 },
    { name: 'kernel 1, stride 2', ...small, images: 7, kernel: 1, stride: 2, pad: 0 },
    {
      name: 'the stem',
      ...small,
      images: 7,
      height: 24,
      width: 24,
      inChannels: 3,
      outChannels: 32,
      stride: 2,
    },
    { name: 'a long reduction', ...small, images: 7, height: 5, width: 5, inChannels: 96 },
  ],
  async (t, on, { name: _, ...shape }) => {
    const a = inputs(shape)
    const [xs, ys] = [shape.height * shape.width * shape.inChannels, outPixels(shape) * shape.outChannels]
    const all = new Float32Array(7 * ys)
    await on.run('conv', { ...a, out: all, threads: 2 })
    for (const images of [1, 2, 7])
      for (const threads of [1, 2])
        for (const first of new Set([0, 7 - images])) {
          const out = new Float32Array(images * ys)
          const x = a.x.subarray(first * xs, (first + images) * xs)
          await on.run('conv', { ...a, images, x, out, threads })
          const want = all.subarray(first * ys, (first + images) * ys)
          sameBytes(t, out, want, `${images} images from ${first}, ${threads} threads`)
        }
  },
)

interface PoolShape {
  images: number
  height: number
  width: number
  channels: number
  kernelHeight: number
  kernelWidth: number
}
const pools = casesOf('pool', {
  images: 0,
  height: 0,
  width: 0,
  channels: 0,
  kernelHeight: 0,
  kernelWidth: 0,
})
const pooled = (s: PoolShape) => Math.floor(s.height / s.kernelHeight) * Math.floor(s.width / s.kernelWidth)

eachBackend('pool agrees with the reference', pools, async (t, on, { name: _, ...shape }) => {
  const x = normal(5, shape.images * shape.height * shape.width * shape.channels)
  const one = pooled(shape) * shape.channels
  const got = canaryFloats(shape.images * one)
  const want = new Float32Array(shape.images * one)
  await on.run('pool', { ...shape, x, out: got.array, threads: 2 })
  await on.reference('pool', { ...shape, x, out: want })
  const count = shape.kernelHeight * shape.kernelWidth
  close(t, got.array, want, bound(count, on.epsilon, largest(x)), 'out')
  got.check(t)
  // Each image alone, on one thread: the same bits.
  const size = shape.height * shape.width * shape.channels
  for (let i = 0; i < shape.images; i++) {
    const out = new Float32Array(one)
    await on.run('pool', { ...shape, images: 1, x: x.subarray(i * size, (i + 1) * size), out, threads: 1 })
    sameBytes(t, out, got.array.subarray(i * one, (i + 1) * one), `image ${i}`)
  }
})

eachBackend('pool keeps a NaN in its window and channel', [{ name: 'window (1, 0)' }], async (t, on) => {
  const shape = { images: 1, height: 4, width: 5, channels: 9, kernelHeight: 2, kernelWidth: 2 }
  const x = normal(6, 4 * 5 * 9)
  x[(3 * 5 + 1) * 9 + 4] = Number.NaN
  x[(0 * 5 + 4) * 9] = Number.NaN // in the column that is cut off
  const out = new Float32Array(2 * 2 * 9)
  await on.run('pool', { ...shape, x, out })
  out.forEach((v, i) => {
    t.is(Number.isNaN(v), i === 2 * 9 + 4, `element ${i}: ${v}`)
  })
})

for (const dtype of ['bfloat16', 'int8'] as const)
  eachBackend(
    `conv in ${dtype} agrees with the reference`,
    convs,
    async (t, on, { name: _, ...shape }) => {
      const a = { ...inputs(shape), dtype }
      const n = shape.images * outPixels(shape) * shape.outChannels
      const got = canaryFloats(n)
      const want = new Float32Array(n)
      const narrow = new Uint16Array(n)
      await on.run('conv', { ...a, out: got.array })
      await on.run('conv', { ...a, out: narrow, outDtype: 'bfloat16' })
      await on.reference('conv', { ...a, out: want })
      const columns = shape.kernel * shape.kernel * shape.inChannels
      const norms = shape.kernel * largestNorm(a.x, shape.inChannels) * largestNorm(a.weight, columns)
      // Operands are the same bits on both sides; int8 sums are exact.
      const sum = dtype === 'bfloat16' ? bound(columns + 1, on.epsilon, 1.02 * norms) : 0
      close(t, got.array, want, sum + 8 * on.epsilon * (largest(want) + norms), 'out')
      sameBytes(t, narrow, toBfloat16s(got.array))
      got.check(t)
    },
    needs(dtype),
  )

eachBackend('pool into bfloat16 rounds the float32 result', [{ name: 'windows of 2 x 3' }], async (t, on) => {
  const a = { images: 2, height: 5, width: 7, channels: 35, kernelHeight: 2, kernelWidth: 3 }
  const x = normal(1, 2 * 5 * 7 * 35)
  const wide = new Float32Array(2 * 2 * 2 * 35)
  const narrow = new Uint16Array(wide.length)
  await on.run('pool', { ...a, x, out: wide })
  await on.run('pool', { ...a, x, out: narrow, outDtype: 'bfloat16' })
  sameBytes(t, narrow, toBfloat16s(wide))
})
