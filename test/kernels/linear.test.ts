import { canaryFloats } from '../helpers/canary.js'
import { linearCases } from '../helpers/cases.js'
import { bound, close, largest, largestNorm, sameBytes } from '../helpers/close.js'
import { eachBackend, type Lacks } from '../helpers/each-backend.js'
import { normal } from '../helpers/random.js'

const cases = linearCases
type Case = Partial<(typeof cases)[number]> & { rows: number; inFeatures: number; outFeatures: number }

const inputs = (c: Case) => ({
  x: normal(1, c.rows * c.inFeatures, c.scale),
  weight: normal(2, c.outFeatures * c.inFeatures, 1 / Math.sqrt(c.inFeatures)),
  bias: c.bias === false ? undefined : normal(3, c.outFeatures),
  rows: c.rows,
  inFeatures: c.inFeatures,
  outFeatures: c.outFeatures,
  activation: c.activation ?? ('none' as const),
})

eachBackend('linear agrees with the reference', cases, async (t, on, c) => {
  const a = inputs(c)
  const n = c.rows * c.outFeatures
  const got = canaryFloats(n)
  const want = new Float32Array(n)
  const start = normal(4, n)
  if (c.residual === 'in place') {
    got.array.set(start)
    want.set(start)
  }
  const residualOf = (out: Float32Array) =>
    c.residual === 'apart' ? start : c.residual === 'in place' ? out : undefined
  await on.run('linear', { ...a, residual: residualOf(got.array), out: got.array })
  await on.reference('linear', { ...a, residual: residualOf(want), out: want })
  const sum = bound(
    c.inFeatures + 1,
    on.epsilon,
    largestNorm(a.x, c.inFeatures) * largestNorm(a.weight, c.inFeatures),
  )
  // Slopes of both GELUs are below 1.2; bias, activation and residual add a few roundings of the result.
  close(t, got.array, want, 1.2 * sum + 8 * on.epsilon * (largest(want) + 4), 'out')
  got.check(t)
})

// The first 11 bits of the mantissa, and subnormal float16 numbers among them.
const float16s = (x: Float32Array) =>
  x.map((v, i) => (i % 7 === 3 ? Math.round(v * 64) * 2 ** -24 : keep11(v)))
const keep11 = (v: number) => {
  const step = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(v) || 1)), -14) - 10)
  return Math.round(v / step) * step
}
// Both ways of widening them: by each tile, and once for many tiles.
/** A float32 model keeps its weights in float16 on backends that can multiply by them. */
const needsFloat16Weights: Lacks<object> = ({ device }) => device === 'cuda' && 'it packs no float16 weights'
const float16Cases: (Case & { name: string })[] = [
  ...cases.filter(c => c.scale === 1 && c.activation === 'none' && c.residual === 'none'),
  { name: 'many tiles, K past one block', rows: 60, inFeatures: 1031, outFeatures: 70 },
  { name: 'more than one block of rows', rows: 350, inFeatures: 129, outFeatures: 45 },
]
eachBackend(
  'linear with float16 weights gives the bits of float32 weights',
  float16Cases,
  async (t, on, c) => {
    const a = inputs(c)
    a.weight = float16s(a.weight)
    const n = c.rows * c.outFeatures
    const got = canaryFloats(n)
    const want = new Float32Array(n)
    await on.run('linear', { ...a, weightDtype: 'float16', out: got.array })
    await on.run('linear', { ...a, out: want })
    sameBytes(t, got.array, want)
    got.check(t)
  },
  needsFloat16Weights,
)

eachBackend(
  'linear reads every float16 number exactly',
  [{ name: 'identity' }],
  async (t, on) => {
    // 2048 columns of 31 numbers: all but the infinities and NaNs.
    const weight = new Float32Array(2048 * 31)
    for (let bits = 0; bits < 2048 * 31; bits++) {
      const exponent = bits >> 11
      const size = (bits & 1023) + (exponent ? 1024 : 0)
      weight[bits] = (bits & 1024 ? -size : size) * 2 ** (Math.max(exponent, 1) - 25)
    }
    const x = new Float32Array(31 * 31)
    for (let i = 0; i < 31; i++) x[i * 32] = 1
    // weight is (out, in) = (2048, 31): row i of x asks for input i.
    const out = new Float32Array(31 * 2048)
    const shape = { rows: 31, inFeatures: 31, outFeatures: 2048, activation: 'none' as const }
    await on.run('linear', { ...shape, x, weight, weightDtype: 'float16', out })
    let wrong = 0
    for (let i = 0; i < 31; i++)
      for (let o = 0; o < 2048; o++) if (out[i * 2048 + o] !== weight[o * 31 + i]) wrong++
    t.is(wrong, 0)
  },
  needsFloat16Weights,
)

eachBackend(
  'linear applies the activations to large inputs',
  (['quickGelu', 'gelu', 'geluTanh'] as const).map(activation => ({ name: activation, activation })),
  async (t, on, { activation }) => {
    // The identity matrix: out is the activation of x itself, far into both tails.
    const values = [
      -1e30, -1000, -100, -88, -20, -10, -6, -5.5, -3, -1, -0.5, -1e-8, -0, 0, 1e-8, 0.5, 1, 3, 6, 20,
    ]
    const x = Float32Array.from([...values, 89, 100, 1000, 1e30])
    const n = x.length
    const weight = new Float32Array(n * n)
    for (let i = 0; i < n; i++) weight[i * n + i] = 1
    const shape = { x, weight, rows: 1, inFeatures: n, outFeatures: n, activation }
    const [got, want] = [new Float32Array(n), new Float32Array(n)]
    await on.run('linear', { ...shape, out: got })
    await on.reference('linear', { ...shape, out: want })
    // Relative to |x|: in the lower tail the result itself is far smaller.
    close(t, got, want, i => 8 * on.epsilon * Math.abs(x[i]) + 1e-30, activation)
  },
)

eachBackend('linear keeps a NaN in its row', [{ name: 'row 3 of 6' }], async (t, on) => {
  const a = inputs({ rows: 6, inFeatures: 40, outFeatures: 35 })
  a.x[3 * 40 + 17] = Number.NaN
  const out = new Float32Array(6 * 35)
  await on.run('linear', { ...a, out })
  for (let i = 0; i < out.length; i++)
    if (Number.isNaN(out[i]) !== (Math.floor(i / 35) === 3)) t.fail(`element ${i} is ${out[i]}`)
  t.pass()
})

eachBackend(
  'linear gives a row the same bits in every batch',
  [
    { name: 'tail sizes', inFeatures: 77, outFeatures: 45, activation: 'gelu' as const },
    { name: 'whole tiles', inFeatures: 768, outFeatures: 64, activation: 'quickGelu' as const },
    { name: 'long reduction', inFeatures: 3072, outFeatures: 33, activation: 'none' as const },
  ],
  async (t, on, c) => {
    const { inFeatures, outFeatures } = c
    const a = inputs({ ...c, rows: 64 })
    const residual = normal(5, 64 * outFeatures)
    const all = new Float32Array(64 * outFeatures)
    await on.run('linear', { ...a, residual, out: all, threads: 2 })
    for (const rows of [1, 2, 7, 64])
      for (const threads of [1, 2])
        for (const first of new Set([0, 5, 64 - rows])) {
          if (first + rows > 64) continue
          const out = new Float32Array(rows * outFeatures)
          await on.run('linear', {
            ...a,
            x: a.x.subarray(first * inFeatures, (first + rows) * inFeatures),
            residual: residual.subarray(first * outFeatures, (first + rows) * outFeatures),
            out,
            rows,
            threads,
          })
          const want = all.subarray(first * outFeatures, (first + rows) * outFeatures)
          sameBytes(t, out, want, `${rows} rows from ${first}, ${threads} threads`)
        }
  },
)
