import { canaryFloats } from '../helpers/canary.js'
import { casesOf } from '../helpers/cases.js'
import { close, sameBytes } from '../helpers/close.js'
import { eachBackend, needs } from '../helpers/each-backend.js'
import { toBfloat16s, widened } from '../helpers/narrow.js'
import { integers, normal } from '../helpers/random.js'

const POSITIONS = 19

interface Shape {
  rows: number
  heads: number
  dim: number
  scale: number
  nan: number
}

/** Angles of a grid, as the towers have them; every third row is not rotated. */
function inputs({ rows, heads, dim, scale, nan }: Shape) {
  const x = normal(1, rows * heads * dim, scale)
  if (nan) x[(rows - 1) * heads * dim + Math.floor((heads * dim) / 2)] = Number.NaN
  const table = new Float32Array(POSITIONS * 2 * dim)
  for (let p = 0; p < POSITIONS; p++)
    for (let i = 0; i < dim; i++) {
      const angle = p * 10000 ** (-Math.floor(i / 2) / dim)
      table[p * 2 * dim + i] = Math.cos(angle)
      table[p * 2 * dim + dim + i] = i % 2 ? Math.sin(angle) : -Math.sin(angle)
    }
  const position = integers(2, rows, POSITIONS).map((p, r) => (r % 3 === 1 ? -1 : p))
  return { x, table, position, rows, heads, dim }
}

/** The rotation as a product of complex numbers, in double. */
function rotated({ x, table, position, rows, heads, dim }: ReturnType<typeof inputs>): Float64Array {
  const y = Float64Array.from(x)
  for (let r = 0; r < rows; r++) {
    const p = position[r]!
    if (p < 0) continue
    for (let i = r * heads * dim; i < (r + 1) * heads * dim; i += 2) {
      const cosine = table[p * 2 * dim + (i % dim)]!
      const sine = table[p * 2 * dim + dim + (i % dim) + 1]!
      y[i] = x[i]! * cosine - x[i + 1]! * sine
      y[i + 1] = x[i + 1]! * cosine + x[i]! * sine
    }
  }
  return y
}

/** Two products and a sum, each rounded, and the result rounded to its dtype. */
const boundOf = (x: Float32Array, epsilon: number, stored: number) => (i: number) =>
  (3 * epsilon + stored) * (Math.abs(x[i]!) + Math.abs(x[i ^ 1]!)) + 1e-37

const cases = casesOf('rope', { rows: 0, heads: 0, dim: 0, scale: 1, nan: 0 })

eachBackend('rope rotates pairs of neighbours', cases, async (t, on, c) => {
  const a = inputs(c)
  const got = canaryFloats(a.x.length)
  await on.run('rope', { ...a, out: got.array })
  close(t, got.array, Float32Array.from(rotated(a)), boundOf(a.x, on.epsilon, 0), 'out')
  got.check(t)
  a.position.forEach((p, r) => {
    const [from, to] = [r * c.heads * c.dim, (r + 1) * c.heads * c.dim]
    if (p < 0) sameBytes(t, got.array.subarray(from, to), a.x.subarray(from, to), `row ${r}, not rotated`)
  })
  // In place, alone, and with another number of threads: the same bits.
  const inPlace = a.x.slice()
  await on.run('rope', { ...a, x: inPlace, out: inPlace, threads: 1 })
  sameBytes(t, inPlace, got.array, 'in place')
  const last = new Float32Array(c.heads * c.dim)
  const from = (c.rows - 1) * last.length
  await on.run('rope', { ...a, x: a.x.subarray(from), position: a.position.slice(-1), out: last, rows: 1 })
  sameBytes(t, last, got.array.subarray(from), 'the last row alone')
})

eachBackend(
  'rope of bfloat16 rotates what is stored and rounds once',
  cases,
  async (t, on, c) => {
    const a = inputs(c)
    const x = toBfloat16s(a.x)
    const out = new Uint16Array(x.length)
    await on.run('rope', { ...a, x, out, dtype: 'bfloat16' })
    const wide = { ...a, x: widened(x) }
    close(t, widened(out), Float32Array.from(rotated(wide)), boundOf(wide.x, on.epsilon, 2 ** -8), 'out')
  },
  needs('bfloat16'),
)
