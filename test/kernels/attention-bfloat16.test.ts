/** attention in bfloat16 on every backend. features.test.ts runs this file again without bfloat16 products. */

import { attentionCases, attentionInputs, attentionLimit } from '../helpers/attention.js'
import { close, largest, sameBytes } from '../helpers/close.js'
import { eachBackend, needsHead } from '../helpers/each-backend.js'
import { toBfloat16s, widened } from '../helpers/narrow.js'
import { normal } from '../helpers/random.js'

eachBackend(
  'attention in bfloat16 agrees with the reference',
  attentionCases,
  async (t, on, c) => {
    const { q, k, v } = attentionInputs(c)
    const a = { q: toBfloat16s(q), k: toBfloat16s(k), v: toBfloat16s(v), ...c.shape }
    const wide = { q: widened(a.q), k: widened(a.k), v: widened(a.v), ...c.shape }
    const n = q.length
    const [got, want, exact] = [new Float32Array(n), new Float32Array(n), new Float32Array(n)]
    await on.run('attention', { ...a, dtype: 'bfloat16', outDtype: 'float32', out: got })
    await on.reference('attention', { ...a, dtype: 'bfloat16', outDtype: 'float32', out: want })
    await on.reference('attention', { ...wide, out: exact })
    // A GPU makes a NaN of what sees an infinite value.
    if (on.backend === 'cuda')
      for (const x of [want, exact])
        for (const [i, value] of got.entries())
          if (Number.isNaN(value) && !Number.isFinite(x[i])) x[i] = Number.NaN
    // Rounding moves every weight of a mean by at most 2^-9 of itself, hence the mean by that times the distance of
    // values from it; float32 sums add what they do in attention.test.ts.
    const most = largest(wide.v.filter(Number.isFinite))
    close(t, got, exact, 2 ** -9 * 2 * most + attentionLimit(c, wide, on.epsilon), 'against exact weights')
    // It rounds what reference rounds: only where exp is next to a tie are their weights different numbers. A GPU rounds
    // a weight by the largest logit of the keys so far, so its roundings are others, and no larger.
    const alike = on.backend === 'cuda' ? Math.SQRT2 : 1 / 4
    const distance = (x: Float32Array, y: Float32Array) =>
      Math.sqrt(x.reduce((sum, value, i) => sum + (Number.isFinite(value) ? (value - y[i]!) ** 2 : 0), 0))
    const [apart, rounding] = [distance(got, want), distance(want, exact)]
    t.true(
      apart <= rounding * alike + 1e-6 * Math.sqrt(n),
      `${apart} from reference, which is ${rounding} from exact`,
    )
    // Weights of one key, or of equal logits, are exact.
    const alone = c.shape.parent ? c.shape.parent.every(p => p < 0) : c.shape.length === 1
    if (c.scale === 1 && !alone)
      t.true(rounding > 1e-5 * Math.sqrt(n), `${rounding}: reference rounds nothing`)

    const narrow = new Uint16Array(n)
    await on.run('attention', { ...a, out: narrow, dtype: 'bfloat16' })
    // A NaN may have any of its bits.
    const oneNaN = (x: Uint16Array) => x.map(bits => ((bits & 0x7fff) > 0x7f80 ? 0x7fc0 : bits))
    sameBytes(t, oneNaN(narrow), oneNaN(toBfloat16s(got)))
  },
  needsHead('bfloat16'),
)

eachBackend(
  'attention in bfloat16 over equal values gives that value',
  [{ name: '77 tokens' }],
  async (t, on) => {
    const shape = { sequences: 1, length: 77, heads: 1, headDim: 64, mask: 'causal' as const }
    const [q, k] = [1, 2].map(seed => toBfloat16s(normal(seed, 77 * 64))) as [Uint16Array, Uint16Array]
    const v = toBfloat16s(new Float32Array(77 * 64).fill(1.3))
    const out = new Uint16Array(77 * 64)
    await on.run('attention', { q, k, v, out, dtype: 'bfloat16', ...shape })
    sameBytes(t, out, v)
  },
)

eachBackend(
  'attention in bfloat16 gives a sequence the same bits in every batch',
  (['full', 'causal'] as const).map(mask => ({ name: mask, mask })),
  async (t, on, { mask }) => {
    const shape = { length: 27, heads: 2, headDim: 80, mask, dtype: 'bfloat16' } as const
    const size = 27 * 160
    const [q, k, v] = [1, 2, 3].map(seed => toBfloat16s(normal(seed, 16 * size))) as [
      Uint16Array,
      Uint16Array,
      Uint16Array,
    ]
    const all = new Uint16Array(16 * size)
    await on.run('attention', { q, k, v, out: all, sequences: 16, ...shape })
    for (const [first, sequences, threads] of [
      [0, 1, 1],
      [15, 1, 2],
      [3, 7, 2],
      [9, 7, 1],
    ] as const) {
      const part = (x: Uint16Array) => x.subarray(first * size, (first + sequences) * size)
      const out = new Uint16Array(sequences * size)
      await on.run('attention', { q: part(q), k: part(k), v: part(v), out, sequences, threads, ...shape })
      sameBytes(t, out, part(all), `${sequences} sequences from ${first}, ${threads} threads`)
    }
  },
)
