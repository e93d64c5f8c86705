/** Class matrices in bfloat16 and int8. */

import { canaryFloats } from '../helpers/canary.js'
import { casesOf } from '../helpers/cases.js'
import { bound, close, sameBytes } from '../helpers/close.js'
import { eachBackend, needs } from '../helpers/each-backend.js'
import { toBfloat16s, widened } from '../helpers/narrow.js'
import { normal, randomBytes } from '../helpers/random.js'

const kinds = ['probability', 'logit', 'cosine'] as const
const shapes = casesOf('cosineSoftmax', {
  rows: 0,
  classCount: 0,
  dim: 0,
  logitScale: 100,
  logitBias: 0,
  k: 0,
})
type Shape = Pick<(typeof shapes)[number], 'rows' | 'classCount' | 'dim'>

const signed = (seed: number, n: number) => new Int8Array(randomBytes(seed, n).buffer)
type Scoring = { logitScale?: number; logitBias?: number }
const size = ({ rows, classCount, dim, logitScale = 100, logitBias = 0 }: Shape & Scoring) => ({
  rows,
  classCount,
  dim,
  logitScale,
  logitBias,
})

/** Cosines as native/backend.h defines them for int8 classes, in exact integers. */
function exactCosines(
  queries: Float32Array,
  classes: Int8Array,
  { rows, classCount, dim }: Shape,
): Float64Array {
  const f = Math.fround
  const nearest = (x: number) => {
    const low = Math.floor(x)
    return x - low === 0.5 ? low + (low & 1) : Math.round(x)
  }
  const out = new Float64Array(rows * classCount)
  for (let r = 0; r < rows; r++) {
    const x = queries.subarray(r * dim, (r + 1) * dim)
    const most = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
    const inverse = f(1 / Math.max(f(most / 16383), f(1e-30)))
    const q = Array.from(x, v => Math.min(16383, Math.max(-16383, nearest(f(v * inverse)))))
    const length = Math.sqrt(q.reduce((s, v) => s + v * v, 0))
    for (let j = 0; j < classCount; j++) {
      const row = classes.subarray(j * dim, (j + 1) * dim)
      const norm = Math.sqrt(row.reduce((s, v) => s + v * v, 0))
      const dot = row.reduce((s, v, i) => s + v * q[i]!, 0)
      out[r * classCount + j] = norm && length ? dot / length / norm : 0
    }
  }
  return out
}

eachBackend('bfloat16 classes give the scores of the same float32 numbers', shapes, async (t, on, c) => {
  const queries = normal(1, c.rows * c.dim, 30)
  const narrow = toBfloat16s(normal(2, c.classCount * c.dim, 0.01))
  const wide = widened(narrow)
  const k = c.k || Math.min(5, c.classCount)
  for (const as of kinds) {
    const got = canaryFloats(c.rows * c.classCount)
    const want = new Float32Array(c.rows * c.classCount)
    const a = { queries, ...size(c), as }
    await on.run('cosineSoftmax', { ...a, classes: narrow, dtype: 'bfloat16', out: got.array })
    await on.run('cosineSoftmax', { ...a, classes: wide, out: want })
    sameBytes(t, got.array, want, `${as}, against the widened matrix`)
    got.check(t)
    const top = { index: new Int32Array(c.rows * k), value: new Float32Array(c.rows * k) }
    const wideTop = { index: new Int32Array(c.rows * k), value: new Float32Array(c.rows * k) }
    await on.run('cosineTopK', { ...a, k, classes: narrow, dtype: 'bfloat16', ...top })
    await on.run('cosineTopK', { ...a, k, classes: wide, ...wideTop })
    sameBytes(t, top.index, wideTop.index, `${as}, index`)
    sameBytes(t, top.value, wideTop.value, `${as}, value`)
  }
})

eachBackend(
  'int8 classes give the scores of exact arithmetic',
  shapes,
  async (t, on, c) => {
    const queries = normal(1, c.rows * c.dim, 30)
    const classes = signed(3, c.classCount * c.dim)
    classes[0] = -128
    const exact = exactCosines(queries, classes, c)
    const k = c.k || Math.min(5, c.classCount)
    const a = { queries, classes, dtype: 'int8' as const, ...size(c) }
    // The sums are exact: what is rounded is the dot product, both lengths and the divisions.
    const cosine = 6 * on.epsilon
    const logit = c.logitScale * (cosine + 2 * on.epsilon) + Math.abs(c.logitBias) * on.epsilon
    const limits = {
      cosine,
      logit,
      probability: 2 * logit + bound(c.classCount, on.epsilon, 1) + 8 * on.epsilon,
    }
    for (const as of kinds) {
      const want = new Float64Array(exact)
      if (as !== 'cosine') for (const [i, v] of exact.entries()) want[i] = v * c.logitScale + c.logitBias
      if (as === 'probability')
        for (let r = 0; r < c.rows; r++) {
          const row = want.subarray(r * c.classCount, (r + 1) * c.classCount)
          const most = row.reduce((m, v) => Math.max(m, v), Number.NEGATIVE_INFINITY)
          const total = row.reduce((s, v) => s + Math.exp(v - most), 0)
          row.forEach((v, i) => {
            row[i] = Math.exp(v - most) / total
          })
        }
      const got = canaryFloats(c.rows * c.classCount)
      await on.run('cosineSoftmax', { ...a, as, out: got.array })
      close(t, got.array, Float32Array.from(want), limits[as] + 2 ** -24, as)
      got.check(t)
      const top = { index: new Int32Array(c.rows * k), value: new Float32Array(c.rows * k) }
      await on.run('cosineTopK', { ...a, as, k, ...top })
      for (let r = 0; r < c.rows; r++) {
        const row = want.subarray(r * c.classCount, (r + 1) * c.classCount)
        const best = Float32Array.from([...row].sort((x, y) => y - x).slice(0, k))
        const chosen = top.index.subarray(r * k, (r + 1) * k)
        t.is(new Set(chosen).size, k)
        close(
          t,
          Float32Array.from(chosen, j => row[j]!),
          best,
          2 * limits[as] + 2 ** -23,
          `${as}, row ${r}`,
        )
        close(t, top.value.subarray(r * k, (r + 1) * k), best, limits[as] + 2 ** -23, `${as}, values ${r}`)
      }
    }
  },
  needs('int8'),
)

// Sums in int32 are closest to their limit here (16383 * 128 * 1024 = 2^31 - 2^17), and no product fits 16 bits.
eachBackend(
  'int8 classes give the right cosines with the largest sums',
  [{ name: 'of either sign, with and without a rest' }],
  async (t, on) => {
    for (const dim of [1024, 2049]) {
      const queries = new Float32Array(4 * dim)
      queries.fill(3, 0, 2 * dim).fill(-3, 2 * dim)
      for (let i = dim; i < 2 * dim; i += 2) queries[i] = -3
      const classes = new Int8Array(3 * dim).fill(-128)
      classes.fill(127, 2 * dim)
      for (let i = dim; i < 2 * dim; i += 2) classes[i] = 127
      const shape = { rows: 4, classCount: 3, dim }
      const out = new Float32Array(12)
      const a = { queries, classes, dtype: 'int8' as const, ...size(shape) }
      await on.run('cosineSoftmax', { ...a, as: 'cosine', out })
      close(
        t,
        out,
        Float32Array.from(exactCosines(queries, classes, shape)),
        6 * on.epsilon + 2 ** -24,
        `${dim}`,
      )
    }
  },
  needs('int8'),
)

eachBackend(
  'scales of int8 classes affect a cosine by their sign, zero and NaN only',
  [{ name: 'sign, zero, NaN' }],
  async (t, on) => {
    const dim = 50
    const queries = normal(1, 2 * dim)
    const classes = signed(4, 6 * dim)
    for (let j = 1; j < 6; j++) classes.copyWithin(j * dim, 0, dim)
    const classScales = Float32Array.of(1, 1e-20, 0, -3, Number.NaN, Number.POSITIVE_INFINITY)
    const out = new Float32Array(12)
    const a = { queries, classes, dtype: 'int8' as const, rows: 2, classCount: 6, dim, logitScale: 100 }
    await on.run('cosineSoftmax', { ...a, classScales, as: 'cosine', out })
    for (let r = 0; r < 2; r++) {
      const c = out.subarray(r * 6, r * 6 + 6)
      t.true(Math.abs(c[0]!) > 0)
      t.deepEqual(
        [...c],
        [c[0], c[0], 0, -c[0]!, Number.NaN, Number.NaN].map(v => (v === 0 ? c[2] : v)),
      )
      t.is(Math.abs(c[2]!), 0)
    }
  },
  needs('int8'),
)

eachBackend(
  'int8 classes give the right cosines for special values',
  [{ name: 'zeros, NaN and infinities in the query, tiny queries' }],
  async (t, on) => {
    const dim = 37
    const queries = normal(5, 5 * dim)
    queries.fill(0, 0, dim)
    queries[dim + 3] = Number.NaN
    queries[2 * dim + 36] = Number.NEGATIVE_INFINITY
    for (let i = 3 * dim; i < 4 * dim; i++) queries[i]! *= 1e-20
    const classes = signed(6, 4 * dim)
    classes.fill(0, 0, dim)
    const out = new Float32Array(20)
    const a = { queries, classes, dtype: 'int8' as const, rows: 5, classCount: 4, dim, logitScale: 100 }
    await on.run('cosineSoftmax', { ...a, as: 'cosine', out })
    t.true(out.subarray(0, 4).every(v => v === 0))
    t.true(out.subarray(4, 12).every(Number.isNaN))
    t.true([12, 16].every(i => out[i] === 0))
    const exact = exactCosines(queries.subarray(3 * dim), classes, { rows: 2, classCount: 4, dim })
    close(t, out.subarray(12), Float32Array.from(exact), 7 * on.epsilon, 'cosines')
    const top = { index: new Int32Array(20), value: new Float32Array(20) }
    await on.run('cosineTopK', { ...a, as: 'probability', k: 4, ...top })
    t.deepEqual(
      Array.from({ length: 5 }, (_, r) => Number.isNaN(top.value[r * 4]!)),
      [false, true, true, false, false],
    )
  },
  needs('int8'),
)

eachBackend(
  'narrow classes give a row the same bits in every batch',
  (['bfloat16', 'int8'] as const).map(dtype => ({ name: `1003 classes of 77 in ${dtype}`, dtype })),
  async (t, on, { dtype }) => {
    const [classCount, dim, k] = [1003, 77, 5]
    const queries = normal(7, 64 * dim)
    const classes =
      dtype === 'bfloat16' ? toBfloat16s(normal(8, classCount * dim)) : signed(9, classCount * dim)
    const a = { dtype, classes, classCount, dim, k, logitScale: 100, as: 'probability' as const }
    const all = { index: new Int32Array(64 * k), value: new Float32Array(64 * k) }
    await on.run('cosineTopK', { ...a, queries, rows: 64, ...all })
    for (const rows of [1, 7, 64])
      for (const threads of [1, 2]) {
        const top = { index: new Int32Array(rows * k), value: new Float32Array(rows * k) }
        const from = 64 - rows
        await on.run('cosineTopK', { ...a, queries: queries.subarray(from * dim), rows, threads, ...top })
        sameBytes(t, top.index, all.index.subarray(from * k), `${rows} rows, ${threads} threads`)
        sameBytes(t, top.value, all.value.subarray(from * k), `${rows} rows, ${threads} threads`)
      }
  },
  (backend, { dtype }) => dtype === 'int8' && needs('int8')(backend, {}),
)

eachBackend(
  'cosineTopK orders equal scores by index over many blocks',
  [{ name: 'lowest indices first' }],
  async (t, on) => {
    const [dim, classCount, k] = [24, 5000, 600]
    const queries = normal(10, dim)
    const classes = new Float32Array(classCount * dim)
    for (let j = 0; j < classCount; j++) classes.set(queries, j * dim)
    const a = { queries, classes, rows: 1, classCount, dim, logitScale: 100, as: 'cosine' as const }
    for (const threads of [1, 2]) {
      const top = { index: new Int32Array(k), value: new Float32Array(k) }
      await on.run('cosineTopK', { ...a, k, threads, ...top })
      t.deepEqual(
        [...top.index],
        Array.from({ length: k }, (_, i) => i),
      )
    }
  },
)

eachBackend(
  'cosineTopK gives the same bits wherever the matrix starts in memory',
  [
    { name: 'width 128', dim: 128 },
    { name: 'width 100', dim: 100 },
  ],
  async (t, on, { dim }) => {
    const [classCount, k] = [70, 70]
    const queries = normal(11, 2 * dim)
    const numbers = normal(12, classCount * dim)
    const a = { queries, rows: 2, classCount, dim, k, logitScale: 100, as: 'probability' as const }
    const run = async (offset: number) => {
      // Beside the matrix is NaN: whoever reads it and uses it shows.
      const classes = new Float32Array(32 + numbers.length).fill(Number.NaN)
      const part = classes.subarray(offset, offset + numbers.length)
      part.set(numbers)
      const top = { index: new Int32Array(2 * k), value: new Float32Array(2 * k) }
      await on.run('cosineTopK', { ...a, classes: part, ...top })
      return top
    }
    const first = await run(0)
    t.false(first.value.some(Number.isNaN))
    for (let offset = 1; offset < 32; offset++) t.deepEqual(await run(offset), first, `${offset} floats on`)
  },
)
