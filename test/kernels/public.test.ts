/** The public kernels in their narrow dtypes, and what they say about a caller's mistakes with them. */

import test from 'ava'
import {
  attention,
  causalAttention,
  cosineSoftmax,
  cosineTopK,
  layerNorm,
  linear,
} from '../../lib/kernels.js'
import { binding } from '../../lib/native/addon.js'
import { bound, close, largest, largestNorm, sameBytes } from '../helpers/close.js'
import { toBfloat16s, widened } from '../helpers/narrow.js'
import { normal } from '../helpers/random.js'

// biome-ignore lint/suspicious/noExplicitAny: wrong types on purpose
const loose = (value: unknown) => value as any
const backends = binding()
  .backends()
  .filter(b => b.available && b.device !== 'cuda')

for (const { name: backend, epsilon } of backends) {
  test(`attention of bfloat16 gives the rounded result of the widened numbers on ${backend}`, async t => {
    const shape = { sequences: 2, length: 9, heads: 3, headDim: 24, backend }
    const [q, k, v] = [1, 2, 3].map(seed => toBfloat16s(normal(seed, 2 * 9 * 3 * 24))) as Uint16Array[]
    for (const kernel of [attention, causalAttention]) {
      const out = await kernel({ ...shape, q: q!, k: k!, v: v! })
      t.true(out instanceof Uint16Array)
      const want = await kernel({ ...shape, q: widened(q!), k: widened(k!), v: widened(v!) })
      // Weights and results are rounded once each.
      close(t, widened(out), want, 3 * epsilon.bfloat16! * largest(widened(v!)), kernel.name)
      const own = new Uint16Array(out.length)
      t.is(await kernel({ ...shape, q: q!, k: k!, v: v!, out: own }), own)
      sameBytes(t, own, out)
    }
  })

  test(`linear in bfloat16 and int8 is near float32 and agrees with the reference on ${backend}`, async t => {
    const [rows, inFeatures, outFeatures] = [5, 70, 33]
    const x = normal(4, rows * inFeatures)
    const weight = normal(5, outFeatures * inFeatures, 0.1)
    const a = { x, weight, bias: normal(6, outFeatures), rows, inFeatures, outFeatures }
    const exact = await linear({ ...a, backend: 'reference' })
    const norms = largestNorm(x, inFeatures) * largestNorm(weight, inFeatures)
    for (const [dtype, unit] of [
      ['bfloat16', 2 ** -8],
      ['int8', 2 ** -6], // a half of 1/127 and of 1/255, of ranges of a few deviations
    ] as const) {
      const y = await linear({ ...a, dtype, backend })
      close(t, y, exact, bound(inFeatures, unit, norms) / Math.sqrt(inFeatures), dtype)
      t.notDeepEqual(y, exact, `${dtype} was not used`)
      const reference = await linear({ ...a, dtype, backend: 'reference' })
      close(t, y, reference, bound(inFeatures, epsilon.float32!, 2 * norms) + 1e-6, `${dtype}, reference`)
      const narrow = await linear({ ...a, dtype, backend, out: new Uint16Array(rows * outFeatures) })
      sameBytes(t, narrow, toBfloat16s(y), `${dtype}, into bfloat16`)
    }
  })

  test(`layerNorm into bfloat16 gives the rounded float32 result on ${backend}`, async t => {
    const a = { x: normal(7, 4 * 30), weight: normal(8, 30), bias: normal(9, 30), rows: 4, cols: 30, backend }
    const narrow = await layerNorm({ ...a, out: new Uint16Array(120) })
    sameBytes(t, narrow, toBfloat16s(await layerNorm(a)))
  })
}

test('invalid dtypes are refused', async t => {
  const f = (n: number) => new Float32Array(n)
  const product = { x: f(6), weight: f(12), rows: 2, inFeatures: 3, outFeatures: 4 }
  const scores = { queries: f(4), classes: new Int8Array(8), rows: 1, classCount: 2, dim: 4 }
  const heads = { q: new Uint16Array(8), k: new Uint16Array(8), v: new Uint16Array(8) }
  const attend = { ...heads, sequences: 1, length: 2, heads: 1, headDim: 4 }
  const norm = { x: f(6), weight: f(3), bias: f(3), rows: 2, cols: 3 }
  const mistakes: [() => Promise<unknown>, string | RegExp][] = [
    [
      () => attention({ ...attend, q: loose(new Int8Array(8)) }),
      'Expected `q` to be a Float32Array or a Uint16Array of bfloat16, got a Int8Array of 8',
    ],
    [
      () => attention({ ...attend, v: loose(f(8)) }),
      'Expected `v` to be a Uint16Array of bfloat16, got a Float32Array of 8',
    ],
    [
      () => causalAttention({ ...attend, out: loose(f(8)) }),
      'Expected `out` to be a Uint16Array of bfloat16, got a Float32Array of 8',
    ],
    [() => attention({ ...attend, out: attend.k }), /`out` to share no memory with `k`/],
    [
      () => attention({ ...attend, k: new Uint16Array(7) }),
      'Expected `k` to have 8 numbers (1 sequences x 2 tokens x 1 heads x 4), got 7',
    ],
    [
      () => linear({ ...product, dtype: loose('float16') }),
      /`dtype` to be one of 'float32', 'bfloat16', 'int8', got "float16"/,
    ],
    [
      () => linear({ ...product, dtype: 'int8', inFeatures: 65537 }),
      'Expected `inFeatures` to be an integer from 1 to 65536, got 65537',
    ],
    [
      () => linear({ ...product, out: loose(new Int8Array(8)) }),
      'Expected `out` to be a Float32Array or a Uint16Array of bfloat16, got a Int8Array of 8',
    ],
    [() => linear({ ...product, out: new Uint16Array(7) }), /`out` to have 8 numbers/],
    [
      () => layerNorm({ ...norm, out: loose([]) }),
      'Expected `out` to be a Float32Array or a Uint16Array of bfloat16, got an array of 0',
    ],
    [
      () => cosineSoftmax({ ...scores, classes: loose(new Uint8Array(8)) }),
      'Expected `classes` to be a Float32Array or a Uint16Array of bfloat16 or a Int8Array of int8, got a Uint8Array of 8',
    ],
    [() => cosineSoftmax({ ...scores, classScales: f(3) }), 'Expected `classScales` to have 2 floats, got 3'],
    [
      () => cosineTopK({ ...scores, k: 1, classes: f(8), classScales: f(2) }),
      'Expected `classScales` to be omitted unless the classes are an Int8Array, got a Float32Array of 2',
    ],
    [
      () =>
        cosineTopK({
          ...scores,
          k: 1,
          out: { index: new Int32Array(1), value: new Float32Array(scores.classes.buffer, 0, 1) },
        }),
      /`out.value` to share no memory with `classes`/,
    ],
  ]
  for (const [call, message] of mistakes) {
    const error = await t.throwsAsync(call(), { message })
    t.is((error as { code?: string } | undefined)?.code, 'ERR_CLIP_INPUT', String(message))
  }
})
