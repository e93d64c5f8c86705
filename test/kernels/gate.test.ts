import { canaryFloats } from '../helpers/canary.js'
import { casesOf } from '../helpers/cases.js'
import { close, sameBytes } from '../helpers/close.js'
import { eachBackend, needs } from '../helpers/each-backend.js'
import { toBfloat16s, widened } from '../helpers/narrow.js'
import { normal } from '../helpers/random.js'

const cases = casesOf('gate', { rows: 0, cols: 0, activation: 0, scale: 1, nan: 0 })

interface Shape {
  rows: number
  cols: number
  activation: number
  scale: number
  nan: number
}

function inputs({ rows, cols, activation, scale, nan }: Shape) {
  const a = normal(1, rows * cols, scale)
  if (nan) a[(rows - 1) * cols + Math.floor(cols / 2)] = Number.NaN
  const kind = (['silu', 'gelu'] as const)[activation]!
  return { a, b: normal(2, rows * cols), rows, cols, activation: kind }
}

/**
 * The exponential is off by less than an ulp of float32, GELU's polynomial by 3.8e-7 (native/cpu/vmath.inl); on a GPU, the
 * approximate exponential by 2 ulp of its argument. All are below 16 epsilon of 1 + |a|, times b.
 */
const boundOf = (a: Float32Array, b: Float32Array, epsilon: number, stored: number) => (i: number) =>
  Math.abs(b[i]!) * (1 + Math.abs(a[i]!)) * (16 * epsilon + stored) + 1e-36

eachBackend('gate agrees with the reference', cases, async (t, on, c) => {
  const a = inputs(c)
  const got = canaryFloats(a.a.length)
  const want = new Float32Array(a.a.length)
  await on.run('gate', { ...a, out: got.array })
  await on.reference('gate', { ...a, out: want })
  close(t, got.array, want, boundOf(a.a, a.b, on.epsilon, 0), 'out')
  got.check(t)
  // Alone and with another number of threads: the same bits.
  const last = new Float32Array(c.cols)
  const from = (c.rows - 1) * c.cols
  const alone = { ...a, a: a.a.subarray(from), b: a.b.subarray(from), rows: 1, threads: 1 }
  await on.run('gate', { ...alone, out: last })
  sameBytes(t, last, got.array.subarray(from), 'the last row alone')
})

eachBackend('gate with silu is a b / (1 + exp(-a))', [{ name: '200 numbers' }], async (t, on) => {
  const a = Float32Array.from({ length: 200 }, (_, i) => i - 100)
  const b = normal(3, 200)
  const out = new Float32Array(200)
  await on.run('gate', { a, b, out, rows: 2, cols: 100, activation: 'silu' })
  const want = Float32Array.from(a, (v, i) => (v / (1 + Math.exp(-v))) * b[i]!)
  close(t, out, want, boundOf(a, b, on.epsilon, 0), 'out')
})

// Of Python's math: x * erfc(-x / sqrt(2)) / 2.
const geluOf = [
  [-5, -1.4332578594e-6],
  [-3, -0.0040496940949],
  [-1, -0.15865525393],
  [-0.5, -0.15426876936],
  [0, 0],
  [0.5, 0.34573123064],
  [1, 0.84134474607],
  [3, 2.9959503059],
] as const

eachBackend('gate with gelu is the exact GELU of a, times b', [{ name: '8 numbers' }], async (t, on) => {
  const a = Float32Array.from(geluOf, ([x]) => x)
  const b = new Float32Array(8).fill(-2)
  const out = new Float32Array(8)
  await on.run('gate', { a, b, out, rows: 1, cols: 8, activation: 'gelu' })
  close(
    t,
    out,
    Float32Array.from(geluOf, ([, y]) => -2 * y),
    boundOf(a, b, on.epsilon, 0),
    'out',
  )
})

for (const outDtype of ['float32', 'bfloat16'] as const)
  eachBackend(
    `gate of bfloat16 into ${outDtype} agrees with the reference`,
    cases,
    async (t, on, c) => {
      const a = inputs(c)
      const narrow = { ...a, a: toBfloat16s(a.a), b: toBfloat16s(a.b), dtype: 'bfloat16' as const, outDtype }
      const make = () =>
        outDtype === 'bfloat16' ? new Uint16Array(a.a.length) : new Float32Array(a.a.length)
      const [out, want] = [make(), make()]
      await on.run('gate', { ...narrow, out })
      await on.reference('gate', { ...narrow, out: want })
      const floats = (x: Float32Array | Uint16Array) => (x instanceof Uint16Array ? widened(x) : x)
      const stored = outDtype === 'bfloat16' ? 2 ** -8 : 0
      close(
        t,
        floats(out),
        floats(want),
        boundOf(widened(narrow.a), widened(narrow.b), on.epsilon, stored),
        'out',
      )
    },
    needs('bfloat16'),
  )
