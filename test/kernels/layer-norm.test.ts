import { canaryFloats } from '../helpers/canary.js'
import { casesOf } from '../helpers/cases.js'
import { bound, close, largest, sameBytes } from '../helpers/close.js'
import { eachBackend } from '../helpers/each-backend.js'
import { normal } from '../helpers/random.js'

/** NaN aside. */
const largestNumber = (x: Float32Array) => largest(x.filter(v => !Number.isNaN(v)))

const cases = casesOf('layerNorm', { rows: 0, cols: 0, scale: 1, shift: 0, epsilon: 1e-5, nan: 0 })

const inputs = (rows: number, cols: number, shift = 0, scale = 1) => ({
  x: normal(1, rows * cols, scale).map(v => v + shift),
  weight: normal(2, cols),
  bias: normal(3, cols),
  rows,
  cols,
})

eachBackend('layerNorm agrees with the reference', cases, async (t, on, c) => {
  const a = { ...inputs(c.rows, c.cols, c.shift, c.scale), epsilon: c.epsilon }
  if (c.nan) a.x[Math.floor(c.rows / 2) * c.cols + Math.floor(c.cols / 2)] = Number.NaN
  const got = canaryFloats(c.rows * c.cols)
  const want = new Float32Array(c.rows * c.cols)
  await on.run('layerNorm', { ...a, out: got.array })
  await on.reference('layerNorm', { ...a, out: want })
  let deviation = Infinity
  for (let r = 0; r < c.rows; r++) {
    const row = a.x.subarray(r * c.cols, (r + 1) * c.cols)
    const mean = row.reduce((s, v) => s + v, 0) / c.cols
    const variance = row.reduce((s, v) => s + (v - mean) ** 2, 0) / c.cols
    if (!Number.isNaN(variance)) deviation = Math.min(deviation, Math.sqrt(variance + a.epsilon))
  }
  // Mean and deviation are means of `cols` terms, each as large as x; their error counts in units of the deviation.
  const relative = bound(c.cols, on.epsilon, largestNumber(a.x) / deviation)
  close(
    t,
    got.array,
    want,
    (relative + 4 * on.epsilon) * (1 + largest(a.weight) + largestNumber(want)),
    'out',
  )
  got.check(t)
})

eachBackend('layerNorm of constant rows gives the bias', [{ name: '3 x 70' }], async (t, on) => {
  const a = { ...inputs(3, 70), epsilon: 1e-5 }
  a.x.fill(4)
  const out = new Float32Array(3 * 70)
  await on.run('layerNorm', { ...a, out })
  for (let r = 0; r < 3; r++) close(t, out.subarray(r * 70, (r + 1) * 70), a.bias, 1e-6, 'out')
})

eachBackend('layerNorm keeps a NaN in its row', [{ name: 'row 1 of 3' }], async (t, on) => {
  const a = { ...inputs(3, 45), epsilon: 1e-5 }
  a.x[45 + 44] = Number.NaN
  const out = new Float32Array(3 * 45)
  await on.run('layerNorm', { ...a, out })
  t.true(out.every((v, i) => Number.isNaN(v) === (Math.floor(i / 45) === 1)))
})

eachBackend(
  'layerNorm gives a row the same bits in every batch',
  [192, 77].map(cols => ({ name: `${cols} columns`, cols })),
  async (t, on, { cols }) => {
    const a = { ...inputs(64, cols), epsilon: 1e-5 }
    const all = new Float32Array(64 * cols)
    await on.run('layerNorm', { ...a, out: all })
    for (const rows of [1, 7, 64])
      for (const threads of [1, 2]) {
        const from = 64 - rows
        const out = new Float32Array(rows * cols)
        await on.run('layerNorm', { ...a, x: a.x.subarray(from * cols), out, rows, threads })
        sameBytes(t, out, all.subarray(from * cols), `${rows} rows, ${threads} threads`)
      }
  },
)
