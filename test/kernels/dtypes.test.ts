/**
 * bfloat16 and int8 on every backend. features.test.ts runs this file again without the CPU features that have entries
 * of their own.
 */

import { canaryFloats } from '../helpers/canary.js'
import { casesOf, linearCases } from '../helpers/cases.js'
import { bound, close, largest, largestNorm, sameBytes } from '../helpers/close.js'
import { eachBackend, needs } from '../helpers/each-backend.js'
import { quantise, toBfloat16s, widened } from '../helpers/narrow.js'
import { integers, normal } from '../helpers/random.js'

// A NaN's sign and payload are nobody's business.
const widenNaN = (x: Uint8Array | Uint16Array): number[] =>
  Array.from(x, v => (x instanceof Uint16Array && (v & 0x7fff) > 0x7f80 ? 0x7fc0 : v))
/** Bits that are compared: a GPU makes a NaN of its own of every NaN. */
const bitsOn = (backend: string) =>
  backend === 'cuda' ? widenNaN : (x: Uint8Array | Uint16Array): number[] => Array.from(x)

const widths = [1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 64, 65, 100, 768]

/** Ties, carries into the exponent, the largest numbers, infinities, NaNs, subnormals, both zeros. */
const special = Float32Array.from([
  1,
  1.00390625,
  1.01171875,
  1.0039064,
  1.9999999,
  -1.00390625,
  3.3895314e38,
  3.4028235e38,
  -3.4028235e38,
  Infinity,
  -Infinity,
  NaN,
  1e-40,
  -1e-40,
  1.1754944e-38,
  1.1754942e-38,
  0,
  -0,
  255.5,
  -255.5,
  65280,
  65408,
])

eachBackend(
  'cast to bfloat16 rounds to nearest even',
  casesOf('cast', { rows: 0, cols: 0, scale: 1 }),
  async (t, on, { rows, cols, scale }) => {
    const x = normal(cols, rows * cols, scale)
    for (let i = 0; i < Math.min(x.length, special.length); i++) x[x.length - 1 - i] = special[i]!
    const out = new Uint16Array(x.length)
    await on.run('cast', { x, out, outDtype: 'bfloat16', rows, cols })
    t.deepEqual(bitsOn(on.backend)(out), bitsOn(on.backend)(toBfloat16s(x)))
  },
)

eachBackend('cast to bfloat16 keeps NaN, infinities and zeros', [{ name: 'one row' }], async (t, on) => {
  const out = new Uint16Array(special.length)
  await on.run('cast', { x: special, out, outDtype: 'bfloat16', rows: 1, cols: special.length })
  t.deepEqual(bitsOn(on.backend)(out), bitsOn(on.backend)(toBfloat16s(special)))
  // Ties go to even, and a NaN is not made an infinity.
  t.deepEqual(Array.from(out.slice(0, 4)), [0x3f80, 0x3f80, 0x3f82, 0x3f81])
  t.true(Number.isNaN(widened(out)[11]))
})

const rowsOfKinds = (cols: number): Float32Array => {
  const rows = [
    normal(1, cols),
    normal(2, cols, 1000),
    normal(3, cols).map(Math.abs),
    normal(4, cols).map(v => -Math.abs(v) - 3),
    new Float32Array(cols),
    new Float32Array(cols).fill(7),
    normal(5, cols, 1e-38),
    normal(6, cols, 1e-30),
    // A range that float32 does not hold, if there are two numbers; else one that it does.
    new Float32Array(cols).map((_, i) => (i % 2 ? -3e38 : 3e38)),
    normal(7, cols).fill(Number.NaN, cols - 1),
    normal(8, cols).fill(-Infinity, 0, 1),
    // Half steps: ties.
    Float32Array.from({ length: cols }, (_, i) => (i === 0 ? 127.5 : (i % 200) / 2)),
  ]
  return Float32Array.from(rows.flatMap(row => [...row]))
}

eachBackend(
  'cast to int8 agrees with the reference',
  widths.map(cols => ({ name: `${cols} columns`, cols })),
  async (t, on, { cols }) => {
    const x = rowsOfKinds(cols)
    const rows = x.length / cols
    const got = {
      out: new Uint8Array(x.length).fill(99),
      scale: new Float32Array(rows),
      zero: new Int32Array(rows),
    }
    await on.run('cast', { x, ...got, outDtype: 'int8', rows, cols })
    const want = quantise(x, cols)
    t.deepEqual(got.scale, want.scale)
    t.deepEqual(got.zero, want.zero)
    sameBytes(t, got.out, want.bytes)
    // And it is a quantisation at all: a step apart at most, half of it where no end is rounded away.
    for (let i = 0; i < x.length; i++) {
      const r = Math.floor(i / cols)
      const s = got.scale[r]!
      if (Number.isNaN(s)) continue
      const value = s * (got.out[i]! - got.zero[r]!)
      t.true(Math.abs(value - x[i]!) <= s * 1.0001, `row ${r}: ${value} for ${x[i]}`)
    }
  },
  needs('int8'),
)

for (const outDtype of ['bfloat16', 'int8'] as const)
  eachBackend(
    `layerNorm into ${outDtype} gives what cast makes of its float32 result`,
    widths.map(cols => ({ name: `${cols} columns`, cols })),
    async (t, on, { cols }) => {
      const rows = 9
      const a = {
        x: normal(1, rows * cols),
        weight: normal(2, cols),
        bias: normal(3, cols),
        rows,
        cols,
        epsilon: 1e-5,
      }
      a.x[4 * cols] = Number.NaN
      const wide = new Float32Array(rows * cols)
      await on.run('layerNorm', { ...a, out: wide })
      const make = () => ({
        out: outDtype === 'int8' ? new Uint8Array(rows * cols) : new Uint16Array(rows * cols),
        scale: new Float32Array(rows),
        zero: new Int32Array(rows),
      })
      const got = make()
      const want = make()
      await on.run('layerNorm', { ...a, ...got, outDtype })
      await on.run('cast', { x: wide, ...want, outDtype, rows, cols })
      // A NaN's sign is nobody's business.
      t.deepEqual(widenNaN(got.out), widenNaN(want.out))
      t.deepEqual(got.scale, want.scale)
      t.deepEqual(got.zero, want.zero)
    },
    needs(outDtype),
  )

interface Case {
  name: string
  rows: number
  inFeatures: number
  outFeatures: number
  activation?: (typeof linearCases)[number]['activation']
  residual?: boolean
}

const cases: Case[] = linearCases.map(c => ({ ...c, residual: c.residual !== 'none' }))
/** Tails, several blocks, and what follows a sum. */
const some = cases.filter(c => /two row blocks|K past one block, odd|elu, bias, residual apart/.test(c.name))

function inputs(c: Case) {
  const shape = { rows: c.rows, inFeatures: c.inFeatures, outFeatures: c.outFeatures }
  return {
    ...shape,
    x: normal(1, c.rows * c.inFeatures),
    weight: normal(2, c.outFeatures * c.inFeatures, 1 / Math.sqrt(c.inFeatures)),
    bias: normal(3, c.outFeatures),
    residual: c.residual ? normal(4, c.rows * c.outFeatures) : undefined,
    activation: c.activation ?? ('none' as const),
  }
}

for (const dtype of ['bfloat16', 'int8'] as const) {
  eachBackend(
    `linear in ${dtype} agrees with the reference`,
    cases,
    async (t, on, c) => {
      const a = { ...inputs(c), dtype }
      const n = c.rows * c.outFeatures
      const got = canaryFloats(n)
      const want = new Float32Array(n)
      await on.run('linear', { ...a, out: got.array })
      await on.reference('linear', { ...a, out: want })
      const norms = largestNorm(a.x, c.inFeatures) * largestNorm(a.weight, c.inFeatures)
      // Operands are the same bits on both sides. bfloat16 sums their exact products in float32; int8 sums are exact and
      // only the scales, the bias and the activation round.
      const sum = dtype === 'bfloat16' ? bound(c.inFeatures + 1, on.epsilon, 1.02 * norms) : 0
      close(t, got.array, want, 1.2 * sum + 8 * on.epsilon * (largest(want) + norms + 4), 'out')
      got.check(t)
      // Not float32 by mistake.
      const exact = new Float32Array(n)
      await on.reference('linear', { ...a, dtype: 'float32', out: exact })
      if (c.inFeatures > 4) t.notDeepEqual(want, exact)
      const step = dtype === 'bfloat16' ? 2 ** -8 : 2 ** -6
      close(t, got.array, exact, 4 * step * norms, 'against float32')
    },
    needs(dtype),
  )

  eachBackend(
    `linear in ${dtype} into bfloat16 rounds the float32 result`,
    some,
    async (t, on, c) => {
      const a = { ...inputs(c), dtype }
      const wide = new Float32Array(c.rows * c.outFeatures)
      const narrow = new Uint16Array(wide.length)
      await on.run('linear', { ...a, out: wide })
      await on.run('linear', { ...a, out: narrow, outDtype: 'bfloat16' })
      sameBytes(t, narrow, toBfloat16s(wide))
    },
    needs(dtype),
  )

  eachBackend(
    `linear in ${dtype} keeps a NaN in its row`,
    [{ name: 'row 3 of 6' }],
    async (t, on) => {
      const a = { ...inputs({ name: '', rows: 6, inFeatures: 41, outFeatures: 35 }), dtype }
      a.x[3 * 41 + 40] = Number.NaN
      const out = new Float32Array(6 * 35)
      await on.run('linear', { ...a, out })
      t.true(out.every((v, i) => Number.isNaN(v) === (Math.floor(i / 35) === 3)))
      a.x[3 * 41 + 40] = 1
      a.weight[7 * 41 + 3] = Number.NaN
      await on.run('linear', { ...a, out })
      t.true(out.every((v, i) => Number.isNaN(v) === (i % 35 === 7)))
    },
    needs(dtype),
  )

  eachBackend(
    `linear in ${dtype} gives a row the same bits in every batch`,
    [
      { name: 'tail sizes', inFeatures: 77, outFeatures: 45 },
      { name: 'long reduction', inFeatures: 3073, outFeatures: 65 },
    ],
    async (t, on, { inFeatures, outFeatures }) => {
      const a = { ...inputs({ name: '', rows: 64, inFeatures, outFeatures, activation: 'gelu' }), dtype }
      const all = new Float32Array(64 * outFeatures)
      await on.run('linear', { ...a, out: all, threads: 2 })
      for (const rows of [1, 2, 7, 64])
        for (const threads of [1, 2]) {
          const first = Math.min(5, 64 - rows)
          const out = new Float32Array(rows * outFeatures)
          const x = a.x.subarray(first * inFeatures, (first + rows) * inFeatures)
          await on.run('linear', { ...a, x, out, rows, threads })
          const want = all.subarray(first * outFeatures, (first + rows) * outFeatures)
          sameBytes(t, out, want, `${rows} rows from ${first}, ${threads} threads`)
        }
    },
    needs(dtype),
  )
}

eachBackend(
  'linear in int8 sums integers exactly',
  [
    { name: 'random', inFeatures: 500, fill: undefined },
    { name: 'a rest of three', inFeatures: 79, fill: undefined },
    // 255 * 127 * 2 does not fit 16 bits.
    { name: 'the largest products', inFeatures: 256, fill: 255 },
    { name: 'a long sum', inFeatures: 65536, fill: 255 },
  ],
  async (t, on, { inFeatures, fill }) => {
    const [rows, outFeatures] = [5, 37]
    // Scales of powers of two and ends of the range in every row, so that quantising gives these very integers.
    const bytes = integers(1, rows * inFeatures, 256)
    const weights = integers(2, outFeatures * inFeatures, 255).map(v => v - 127)
    const zero = [0, 255, 100, 128, 1]
    for (let r = 0; r < rows; r++) {
      if (fill !== undefined) bytes.fill(fill, r * inFeatures, (r + 1) * inFeatures)
      bytes[r * inFeatures] = 0
      bytes[r * inFeatures + 1] = 255
    }
    for (let o = 0; o < outFeatures; o++) {
      if (fill !== undefined) weights.fill(o % 2 ? 127 : -127, o * inFeatures, (o + 1) * inFeatures)
      weights[o * inFeatures + 2] = o % 2 ? 127 : -127
    }
    const x = Float32Array.from(bytes, (q, i) => (q - zero[Math.floor(i / inFeatures)]!) / 64)
    const weight = Float32Array.from(weights, q => q / 1024)
    const out = new Float32Array(rows * outFeatures)
    const shape = { rows, inFeatures, outFeatures, activation: 'none' as const }
    await on.run('linear', { x, weight, out, ...shape, dtype: 'int8' })
    const want = out.map((_, i) => {
      const [r, o] = [Math.floor(i / outFeatures), i % outFeatures]
      let sum = 0
      for (let k = 0; k < inFeatures; k++)
        sum += (bytes[r * inFeatures + k]! - zero[r]!) * weights[o * inFeatures + k]!
      return sum / 65536
    })
    sameBytes(t, out, want)
  },
  needs('int8'),
)

eachBackend(
  'patches into bfloat16 rounds the float32 result',
  [1, 4, 7].map(patch => ({ name: `of ${patch} pixels`, patch })),
  async (t, on, { patch }) => {
    const size = 15
    const grid = Math.floor(size / patch)
    const n = 2 * grid * grid * 3 * patch * patch
    const pixels = Uint8Array.from(integers(1, 2 * size * size * 3, 256))
    for (const source of [{ pixels, value: normal(2, 768) }, { planes: normal(3, 2 * 3 * size * size) }]) {
      const wide = new Float32Array(n)
      const narrow = new Uint16Array(n)
      await on.run('patches', { ...source, out: wide, images: 2, size, patch })
      await on.run('patches', { ...source, out: narrow, outDtype: 'bfloat16', images: 2, size, patch })
      sameBytes(t, narrow, toBfloat16s(wide))
    }
  },
)
