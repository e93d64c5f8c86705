import { headDims, model, tokens } from '../../bench/cases.js'
import { canaryFloats } from '../helpers/canary.js'
import { bound, close, largest, largestNorm, sameBytes } from '../helpers/close.js'
import { eachBackend, needsHead, type Running } from '../helpers/each-backend.js'
import { generator, normal } from '../helpers/random.js'

interface Case {
  name: string
  sequences: number
  length: number
  heads: number
  headDim: number
  mask: 'full' | 'causal' | 'tree'
  parent?: Int32Array
  queryRow?: Int32Array
  scale?: number
}

const masks = ['full', 'causal'] as const

/** A trie: every row's parent is an earlier row, or it is a root. */
function trie(seed: number, rows: number, chance = 0.1): Int32Array {
  const next = generator(seed)
  return Int32Array.from({ length: rows }, (_, r) =>
    r === 0 || next() < chance ? -1 : Math.floor(next() * r),
  )
}

const cases: Case[] = [
  ...masks.flatMap(mask => [
    ...headDims.map(headDim => ({
      name: `${mask}, head dimension ${headDim}`,
      sequences: 2,
      length: 19,
      heads: 2,
      headDim,
      mask,
    })),
    ...[1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 77].map(length => ({
      name: `${mask}, ${length} tokens`,
      sequences: 3,
      length,
      heads: 1,
      headDim: 64,
      mask,
    })),
    { name: `${mask}, many short sequences`, sequences: 50, length: 3, heads: 3, headDim: 64, mask },
    { name: `${mask}, logits of +-1000`, sequences: 2, length: 20, heads: 2, headDim: 64, mask, scale: 16 },
    {
      name: `${mask}, one asking row per sequence`,
      sequences: 5,
      length: 21,
      heads: 2,
      headDim: 64,
      mask,
      queryRow: Int32Array.from([20, 21, 50, 70, 104]),
    },
    {
      name: `${mask}, asking rows in any order, some twice`,
      sequences: 2,
      length: 10,
      heads: 2,
      headDim: 32,
      mask,
      queryRow: Int32Array.from([19, 3, 3, 0, 11, 10, 9]),
    },
  ]),
  ...['icon-clip', 'ViT-B/32'].map(name => ({
    name: `the image tower of ${name}`,
    sequences: 1,
    length: tokens(model(name)),
    heads: model(name).image.heads,
    headDim: model(name).image.width / model(name).image.heads,
    mask: 'full' as const,
  })),
  { name: 'a long sequence', sequences: 1, length: 257, heads: 1, headDim: 64, mask: 'full' },
  { name: 'tree', sequences: 1, length: 90, heads: 2, headDim: 64, mask: 'tree', parent: trie(1, 90) },
  {
    name: 'tree, head dimension 80',
    sequences: 1,
    length: 40,
    heads: 1,
    headDim: 80,
    mask: 'tree',
    parent: trie(2, 40),
  },
  {
    name: 'tree, a chain',
    sequences: 1,
    length: 77,
    heads: 1,
    headDim: 64,
    mask: 'tree',
    parent: Int32Array.from({ length: 77 }, (_, r) => r - 1),
  },
  {
    name: 'tree, only roots',
    sequences: 1,
    length: 33,
    heads: 1,
    headDim: 64,
    mask: 'tree',
    parent: new Int32Array(33).fill(-1),
  },
  {
    name: 'tree, asking leaves',
    sequences: 1,
    length: 60,
    heads: 2,
    headDim: 64,
    mask: 'tree',
    parent: trie(3, 60),
    queryRow: Int32Array.from([59, 7, 31, 32]),
  },
]

function inputs(c: Omit<Case, 'name'>) {
  const rows = c.sequences * c.length
  const cols = c.heads * c.headDim
  const queries = c.queryRow?.length ?? rows
  return {
    q: normal(1, queries * cols, c.scale),
    k: normal(2, rows * cols, c.scale),
    v: normal(3, rows * cols),
    sequences: c.sequences,
    length: c.length,
    heads: c.heads,
    headDim: c.headDim,
    mask: c.mask,
    parent: c.parent,
    queryRow: c.queryRow,
  }
}

/** Error of a weighted mean of values whose weights come from logits with an error of their own. */
function limit(a: ReturnType<typeof inputs>, epsilon: number): number {
  const norms = (largestNorm(a.q, a.headDim) * largestNorm(a.k, a.headDim)) / Math.sqrt(a.headDim)
  const logit = bound(a.headDim, epsilon, norms)
  // exp(x + d) = exp(x)(1 + d): numerator and denominator are each off by the relative error of a logit, and by their
  // own sums.
  return (2 * logit + 2 * bound(a.length, epsilon, 1) + 8 * epsilon) * largest(a.v)
}

eachBackend(
  'attention',
  cases,
  async (t, on, c) => {
    const a = inputs(c)
    const got = canaryFloats(a.q.length)
    const want = new Float32Array(a.q.length)
    await on.run('attention', { ...a, out: got.array })
    await on.reference('attention', { ...a, out: want })
    close(t, got.array, want, limit(a, on.epsilon), 'out')
    got.check(t)
  },
  needsHead,
)

eachBackend(
  'attention: equal logits give the mean',
  masks.map(mask => ({ name: mask, mask })),
  async (t, on, { mask }) => {
    const a = inputs({ sequences: 1, length: 35, heads: 2, headDim: 64, mask })
    a.q.fill(0)
    const out = new Float32Array(a.q.length)
    await on.run('attention', { ...a, out })
    const want = new Float32Array(out.length)
    for (let r = 0; r < 35; r++) {
      const seen = mask === 'full' ? 35 : r + 1
      for (let c = 0; c < 128; c++) {
        let sum = 0
        for (let j = 0; j < seen; j++) sum += a.v[j * 128 + c]
        want[r * 128 + c] = sum / seen
      }
    }
    close(t, out, want, bound(35, on.epsilon, largest(a.v)) + 8 * on.epsilon * largest(a.v), 'out')
  },
)

eachBackend('attention: NaN', [{ name: 'in a later token does not touch an earlier one' }], async (t, on) => {
  for (const spoilt of ['q', 'k', 'v'] as const) {
    const a = inputs({ sequences: 2, length: 40, heads: 2, headDim: 64, mask: 'causal' })
    const clean = new Float32Array(a.q.length)
    await on.run('attention', { ...a, out: clean })
    // Token 23 of the first sequence, dimension 5 of its second head.
    a[spoilt][23 * 128 + 64 + 5] = Number.NaN
    const out = new Float32Array(a.q.length)
    await on.run('attention', { ...a, out })
    for (let i = 0; i < out.length; i++) {
      const token = Math.floor(i / 128)
      const column = i % 128
      const touched =
        spoilt === 'q'
          ? token === 23 && column >= 64
          : token >= 23 && token < 40 && (spoilt === 'k' ? column >= 64 : column === 64 + 5)
      if (touched ? !Number.isNaN(out[i]) : !Object.is(out[i], clean[i]))
        t.fail(
          `NaN in ${spoilt}: token ${token}, column ${column} is ${out[i]} instead of ${touched ? NaN : clean[i]}`,
        )
    }
  }
  t.pass()
})

async function runRows(on: Running, c: Omit<Case, 'name'>, a: ReturnType<typeof inputs>, threads: number) {
  const out = new Float32Array(a.q.length)
  await on.run('attention', { ...a, ...c, out, threads })
  return out
}

eachBackend(
  'attention: a sequence has the same bits in every batch',
  masks.flatMap(mask =>
    [64, 80, 24].map(headDim => ({ name: `${mask}, head dimension ${headDim}`, mask, headDim })),
  ),
  async (t, on, { mask, headDim }) => {
    const shape = { length: 27, heads: 2, headDim, mask }
    const a = inputs({ ...shape, sequences: 64 })
    const size = 27 * 2 * headDim
    const all = await runRows(on, { ...shape, sequences: 64 }, a, 2)
    for (const sequences of [1, 7])
      for (const threads of [1, 2])
        for (const first of [0, 3, 64 - sequences]) {
          const part = (x: Float32Array) => x.subarray(first * size, (first + sequences) * size)
          const out = await runRows(
            on,
            { ...shape, sequences },
            { ...a, q: part(a.q), k: part(a.k), v: part(a.v) },
            threads,
          )
          sameBytes(t, out, part(all), `${sequences} sequences from ${first}, ${threads} threads`)
        }
    // The rows that ask, alone.
    const queryRow = Int32Array.from([26, 63 * 27 + 26, 5])
    const cols = 2 * headDim
    const q = new Float32Array(queryRow.length * cols)
    queryRow.forEach((row, i) => {
      q.set(a.q.subarray(row * cols, (row + 1) * cols), i * cols)
    })
    const few = await runRows(on, { ...shape, sequences: 64, queryRow }, { ...a, q }, 2)
    queryRow.forEach((row, i) => {
      const want = all.subarray(row * cols, (row + 1) * cols)
      sameBytes(t, few.subarray(i * cols, (i + 1) * cols), want, `query at row ${row}`)
    })
  },
)

eachBackend(
  'attention: a trie gives the bits of the plain causal computation',
  [64, 80].map(headDim => ({ name: `head dimension ${headDim}`, headDim })),
  async (t, on, { headDim }) => {
    const heads = 2
    const cols = heads * headDim
    const parent = trie(9, 70, 0.05)
    const tree = { sequences: 1, length: 70, heads, headDim, mask: 'tree' as const, parent }
    const a = inputs(tree)
    const whole = await runRows(on, tree, a, 2)
    for (const leaf of [69, 42, 13, 1]) {
      const path: number[] = []
      for (let r = leaf; r >= 0; r = parent[r]) path.unshift(r)
      const pick = (x: Float32Array) => {
        const rows = new Float32Array(path.length * cols)
        path.forEach((r, i) => {
          rows.set(x.subarray(r * cols, (r + 1) * cols), i * cols)
        })
        return rows
      }
      const plain = {
        sequences: 1,
        length: path.length,
        heads,
        headDim,
        mask: 'causal' as const,
        parent: undefined,
      }
      const out = await runRows(on, plain, { ...a, q: pick(a.q), k: pick(a.k), v: pick(a.v) }, 1)
      sameBytes(t, out, pick(whole), `path to row ${leaf}`)
    }
  },
)
