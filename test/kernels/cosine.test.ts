import { canaryFloats, canaryIntegers } from '../helpers/canary.js'
import { casesOf } from '../helpers/cases.js'
import { bound, close, sameBytes } from '../helpers/close.js'
import { eachBackend } from '../helpers/each-backend.js'
import { normal } from '../helpers/random.js'

interface Case {
  name: string
  rows: number
  classCount: number
  dim: number
  logitScale?: number
  logitBias?: number
  k?: number
}

const kinds = ['probability', 'sigmoid', 'logit', 'cosine'] as const

const cases: Case[] = casesOf('cosineSoftmax', {
  rows: 0,
  classCount: 0,
  dim: 0,
  logitScale: 100,
  logitBias: 0,
  k: 0,
})

const inputs = (c: Case) => ({
  // Far from normalized, both sides.
  queries: normal(1, c.rows * c.dim, 30),
  classes: normal(2, c.classCount * c.dim, 0.01),
  rows: c.rows,
  classCount: c.classCount,
  dim: c.dim,
  logitScale: c.logitScale ?? 100,
  logitBias: c.logitBias ?? 0,
})

/**
 * A cosine, then the logit, then exp of its difference to the largest over a sum of all; or the sigmoid, whose slope is at
 * most 1/4, with an exponential, a sum and a quotient.
 */
function limit(c: Case, as: (typeof kinds)[number], epsilon: number): number {
  const scale = c.logitScale ?? 100
  const cosine = bound(c.dim, epsilon, 1) + 4 * epsilon
  if (as === 'cosine') return cosine
  const logit = scale * (cosine + 2 * epsilon) + Math.abs(c.logitBias ?? 0) * epsilon
  if (as === 'sigmoid') return logit / 4 + 4 * epsilon
  return as === 'logit' ? logit + 1e-30 : 2 * logit + bound(c.classCount, epsilon, 1) + 8 * epsilon
}

eachBackend(
  'cosineSoftmax agrees with the reference',
  cases.flatMap(c => kinds.map(as => ({ ...c, name: `${c.name}, ${as}`, as }))),
  async (t, on, c) => {
    const a = { ...inputs(c), as: c.as }
    const got = canaryFloats(c.rows * c.classCount)
    const want = new Float32Array(c.rows * c.classCount)
    await on.run('cosineSoftmax', { ...a, out: got.array })
    await on.reference('cosineSoftmax', { ...a, out: want })
    close(t, got.array, want, limit(c, c.as, on.epsilon), 'out')
    got.check(t)
    if (c.as !== 'probability') return
    for (let r = 0; r < c.rows; r++) {
      const sum = got.array.subarray(r * c.classCount, (r + 1) * c.classCount).reduce((s, v) => s + v, 0)
      t.true(
        Math.abs(sum - 1) <= bound(c.classCount, on.epsilon, 1) + 8 * on.epsilon,
        `row ${r} sums to ${sum}`,
      )
    }
  },
)

eachBackend(
  'cosineTopK agrees with the reference',
  cases.flatMap(c => kinds.map(as => ({ ...c, name: `${c.name}, ${as}`, as }))),
  async (t, on, c) => {
    const k = c.k || Math.min(5, c.classCount)
    const a = { ...inputs(c), as: c.as }
    const all = new Float32Array(c.rows * c.classCount)
    await on.reference('cosineSoftmax', { ...a, out: all })
    const index = canaryIntegers(c.rows * k)
    const value = canaryFloats(c.rows * k)
    await on.run('cosineTopK', { ...a, k, index: index.array, value: value.array })
    index.check(t)
    value.check(t)
    const allowed = limit(c, c.as, on.epsilon)
    for (let r = 0; r < c.rows; r++) {
      const row = all.subarray(r * c.classCount, (r + 1) * c.classCount)
      const best = [...row].sort((x, y) => y - x).slice(0, k)
      const chosen = index.array.subarray(r * k, (r + 1) * k)
      t.is(new Set(chosen).size, k, `row ${r} names a class twice: ${chosen}`)
      // Near ties may swap, so the classes are judged by their exact scores.
      close(
        t,
        Float32Array.from(chosen, j => row[j]),
        Float32Array.from(best),
        2 * allowed,
        `row ${r}, classes`,
      )
      close(t, value.array.subarray(r * k, (r + 1) * k), Float32Array.from(best), allowed, `row ${r}, values`)
    }
  },
)

eachBackend('cosineTopK gives ties to the lower index', [{ name: 'repeated classes' }], async (t, on) => {
  const dim = 40
  const queries = normal(1, dim)
  const classes = new Float32Array(100 * dim)
  for (let j = 0; j < 100; j++) classes.set(queries, j * dim)
  const index = new Int32Array(7)
  const value = new Float32Array(7)
  const shape = { queries, classes, rows: 1, classCount: 100, dim, k: 7, logitScale: 100 }
  await on.run('cosineTopK', { ...shape, as: 'probability', index, value })
  t.deepEqual([...index], [0, 1, 2, 3, 4, 5, 6])
  close(t, value, new Float32Array(7).fill(0.01), 1e-5, 'value')
})

eachBackend('cosineSoftmax gives zero vectors the cosine 0', [{ name: '9 classes' }], async (t, on) => {
  const a = inputs({ name: '', rows: 2, classCount: 9, dim: 20 })
  a.queries.fill(0, 0, 20)
  const out = new Float32Array(18)
  await on.run('cosineSoftmax', { ...a, as: 'cosine', out })
  t.true(out.subarray(0, 9).every(v => v === 0))
  await on.run('cosineSoftmax', { ...a, as: 'probability', out })
  close(t, out.subarray(0, 9), new Float32Array(9).fill(1 / 9), 8 * on.epsilon, 'out')
})

eachBackend(
  'cosineSoftmax gives the sigmoid of each logit, scale * cosine + bias, whatever the other classes are',
  [{ name: '61 classes' }],
  async (t, on) => {
    // Logits from about -20 to 20: both tails.
    const a = inputs({ name: '', rows: 4, classCount: 61, dim: 6, logitScale: 20, logitBias: -1.5 })
    const [cosine, logit, got] = [new Float32Array(244), new Float32Array(244), new Float32Array(244)]
    await on.run('cosineSoftmax', { ...a, as: 'cosine', out: cosine })
    await on.run('cosineSoftmax', { ...a, as: 'logit', out: logit })
    await on.run('cosineSoftmax', { ...a, as: 'sigmoid', out: got })
    close(
      t,
      logit,
      cosine.map(c => Math.fround(20 * c - 1.5)),
      32 * on.epsilon,
      'logits',
    )
    const want = logit.map(z => 1 / (1 + Math.exp(-z)))
    // The logit's own rounding, and an exponential, a sum and a quotient: of each probability itself.
    close(t, got, want, i => want[i]! * (8 + Math.abs(logit[i]!)) * on.epsilon, 'probabilities')
    const alone = new Float32Array(4)
    await on.run('cosineSoftmax', {
      ...a,
      as: 'sigmoid',
      classes: a.classes.subarray(7 * 6, 8 * 6),
      classCount: 1,
      out: alone,
    })
    sameBytes(
      t,
      alone,
      Float32Array.from([0, 1, 2, 3], r => got[r * 61 + 7]!),
      'one class alone',
    )
  },
)

eachBackend('cosineSoftmax keeps a NaN in its row', [{ name: 'row 1 of 3' }], async (t, on) => {
  const a = inputs({ name: '', rows: 3, classCount: 35, dim: 20 })
  a.queries[20 + 3] = Number.NaN
  for (const as of kinds) {
    const out = new Float32Array(3 * 35)
    await on.run('cosineSoftmax', { ...a, as, out })
    t.true(
      out.every((v, i) => Number.isNaN(v) === (i >= 35 && i < 70)),
      as,
    )
  }
  const value = new Float32Array(6)
  await on.run('cosineTopK', { ...a, as: 'probability', k: 2, index: new Int32Array(6), value })
  t.deepEqual([...value].map(Number.isNaN), [false, false, true, true, false, false])
})

eachBackend(
  'cosine kernels give a row the same bits in every batch',
  [
    { name: '1003 classes of 192', classCount: 1003, dim: 192 },
    { name: '50 classes of 77', classCount: 50, dim: 77 },
  ],
  async (t, on, { classCount, dim }) => {
    const a = inputs({ name: '', rows: 64, classCount, dim })
    const k = 5
    const all = new Float32Array(64 * classCount)
    const index = new Int32Array(64 * k)
    const value = new Float32Array(64 * k)
    await on.run('cosineSoftmax', { ...a, as: 'probability', out: all })
    await on.run('cosineTopK', { ...a, as: 'probability', k, index, value })
    for (const rows of [1, 7, 64])
      for (const threads of [1, 2]) {
        const from = 64 - rows
        const part = {
          ...a,
          queries: a.queries.subarray(from * dim),
          rows,
          threads,
          as: 'probability' as const,
        }
        const out = new Float32Array(rows * classCount)
        await on.run('cosineSoftmax', { ...part, out })
        sameBytes(t, out, all.subarray(from * classCount), `softmax, ${rows} rows, ${threads} threads`)
        const top = { index: new Int32Array(rows * k), value: new Float32Array(rows * k) }
        await on.run('cosineTopK', { ...part, k, ...top })
        sameBytes(t, top.index, index.subarray(from * k), `index, ${rows} rows, ${threads} threads`)
        sameBytes(t, top.value, value.subarray(from * k), `value, ${rows} rows, ${threads} threads`)
      }
  },
)

const [pairs, pairDim] = [200, 512]
eachBackend(
  'cosines are between -1 and 1',
  [{ name: 'scores within the bounds keep their bits' }],
  async (t, on) => {
    const queries = normal(7, pairs * pairDim)
    // The same vectors and their opposites: in float32 many of their cosines round to more than 1.
    const classes = Float32Array.from([...queries, ...queries.map(x => -x)])
    const a = { queries, classes, rows: pairs, classCount: 2 * pairs, dim: pairDim, logitScale: 1 }
    const plain = new Float32Array(2 * pairs ** 2)
    const cosines = new Float32Array(2 * pairs ** 2)
    await on.run('cosineSoftmax', { ...a, as: 'logit', out: plain })
    await on.run('cosineSoftmax', { ...a, as: 'cosine', out: cosines })
    // The reference adds in double precision.
    if (on.backend !== 'reference') t.true(plain.some(x => x > 1) && plain.some(x => x < -1))
    sameBytes(
      t,
      cosines,
      plain.map(x => Math.min(1, Math.max(-1, x))),
      'cosines',
    )
    const k = 2 * pairs
    const value = new Float32Array(pairs * k)
    const index = new Int32Array(pairs * k)
    await on.run('cosineTopK', { ...a, as: 'cosine', k, index, value })
    for (let r = 0; r < pairs; r++) {
      const best = [...cosines.subarray(r * k, (r + 1) * k)].sort((x, y) => y - x)
      sameBytes(t, value.subarray(r * k, (r + 1) * k), Float32Array.from(best), `the best of query ${r}`)
    }
  },
  ({ device }) => device === 'cuda' && 'they may be beyond by a few epsilons there: native/backend.h',
)

eachBackend(
  'cosine kernels score one image before the call returns and many in the background, with the same bits',
  [{ name: '30 classes' }],
  async (t, on) => {
    const [dim, classCount] = [64, 30]
    const few = inputs({ name: '', rows: 1, classCount, dim })
    const many = inputs({ name: '', rows: 500, classCount, dim })
    let turned = false
    setImmediate(() => {
      turned = true
    })
    const out = new Float32Array(classCount)
    await on.run('cosineSoftmax', { ...few, as: 'logit', out })
    const top = { k: 1, index: new Int32Array(1), value: new Float32Array(1) }
    await on.run('cosineTopK', { ...few, as: 'logit', ...top })
    t.false(turned)
    const all = new Float32Array(500 * classCount)
    await on.run('cosineSoftmax', { ...many, as: 'logit', out: all })
    t.true(turned)
    sameBytes(t, out, all.subarray(0, classCount), 'scores')
    t.is(top.value[0], Math.max(...out))
    t.is(out[top.index[0]!], top.value[0])
  },
  ({ device }) => device === 'cuda' && 'a call to a GPU always waits for it',
)
