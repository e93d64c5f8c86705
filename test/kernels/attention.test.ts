import { attentionCases, attentionInputs, attentionLimit } from '../helpers/attention.js'
import { canaryFloats } from '../helpers/canary.js'
import { close, sameBytes } from '../helpers/close.js'
import { eachBackend, needsHead } from '../helpers/each-backend.js'
import { toBfloat16s } from '../helpers/narrow.js'
import { normal } from '../helpers/random.js'

eachBackend(
  'attention agrees with the reference',
  attentionCases,
  async (t, on, c) => {
    const a = { ...attentionInputs(c), ...c.shape }
    const got = canaryFloats(a.q.length)
    const want = new Float32Array(a.q.length)
    await on.run('attention', { ...a, out: got.array })
    await on.reference('attention', { ...a, out: want })
    close(t, got.array, want, attentionLimit(c, a, on.epsilon), 'out')
    got.check(t)
    if (!c.otherOut) return
    const narrow = new Uint16Array(a.q.length)
    await on.run('attention', { ...a, out: narrow, outDtype: 'bfloat16' })
    sameBytes(t, narrow, toBfloat16s(got.array), 'out in bfloat16')
  },
  needsHead('float32'),
)

eachBackend(
  'attention gives a sequence the same bits in every batch',
  (['full', 'causal'] as const).flatMap(mask =>
    [64, 80, 24].map(headDim => ({ name: `${mask}, head dimension ${headDim}`, mask, headDim })),
  ),
  async (t, on, { mask, headDim }) => {
    const shape = { length: 27, heads: 2, headDim, mask }
    const cols = 2 * headDim
    const size = 27 * cols
    const [q, k, v] = [1, 2, 3].map(seed => normal(seed, 64 * size)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ]
    const run = async (a: {
      q: Float32Array
      k: Float32Array
      v: Float32Array
      sequences: number
      threads: number
      queryRow?: Int32Array
    }) => {
      const out = new Float32Array(a.q.length)
      await on.run('attention', { ...shape, ...a, out })
      return out
    }
    const all = await run({ q, k, v, sequences: 64, threads: 2 })
    for (const sequences of [1, 7])
      for (const threads of [1, 2])
        for (const first of [0, 3, 64 - sequences]) {
          const part = (x: Float32Array) => x.subarray(first * size, (first + sequences) * size)
          const out = await run({ q: part(q), k: part(k), v: part(v), sequences, threads })
          sameBytes(t, out, part(all), `${sequences} sequences from ${first}, ${threads} threads`)
        }
    // The rows that ask, alone.
    const queryRow = Int32Array.from([26, 63 * 27 + 26, 5])
    const row = (x: Float32Array, r: number) => x.subarray(r * cols, (r + 1) * cols)
    const asking = new Float32Array(queryRow.length * cols)
    queryRow.forEach((r, i) => {
      asking.set(row(q, r), i * cols)
    })
    const few = await run({ q: asking, k, v, sequences: 64, queryRow, threads: 2 })
    queryRow.forEach((r, i) => {
      sameBytes(t, row(few, i), row(all, r), `query at row ${r}`)
    })
  },
)
