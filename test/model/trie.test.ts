/** All texts of a call form one trie: fewer rows, the same bits. */

import test from 'ava'
import type { NativeModel } from '../../lib/native/surface.js'
import { rowsOf } from './golden.js'
import { encodeIds, loadNative, random, readEmbedded } from './native-model.js'

const START = 8192
const END = 8193
const CHUNK_ROWS = 8192 // native/model/token_trie.h

const { model: spec, preprocess } = await readEmbedded()
const width = spec.embedDim

/** Nodes of the trie of these texts. */
const nodes = (texts: readonly (readonly number[])[]): number =>
  new Set(texts.flatMap(ids => ids.map((_, i) => ids.slice(0, i + 1).join()))).size

const total = (texts: readonly (readonly number[])[]): number => texts.reduce((n, ids) => n + ids.length, 0)

async function rowsComputed(model: NativeModel, run: () => Promise<unknown>): Promise<number> {
  const before = model.counters().textRows
  await run()
  return model.counters().textRows - before
}

/** Random texts that share prefixes of all lengths; some are equal, some are prefixes of others. */
function randomTexts(count: number, seed: number, vocabulary = 8192, longest = 30): number[][] {
  const next = random(seed)
  const texts: number[][] = []
  for (let i = 0; i < count; i++) {
    const from = texts.length && next() < 0.6 ? texts[Math.floor(next() * texts.length)]! : [START, END]
    const kept = from.slice(1, 1 + Math.floor(next() * (from.length - 1)))
    const more = Array.from({ length: Math.floor(next() * (longest - kept.length)) }, () =>
      Math.floor(next() * vocabulary),
    )
    texts.push([START, ...kept, ...more, END])
  }
  return texts
}

const alone = async (model: NativeModel, texts: readonly (readonly number[])[]): Promise<Float32Array[]> => {
  const rows: Float32Array[] = []
  for (const ids of texts) rows.push(await encodeIds(model, [ids]))
  return rows
}

for (const device of ['auto', 'reference'] as const) {
  test(`texts in a batch have the same bits as alone, with one row per trie node, on ${device}`, async t => {
    const model = await loadNative(spec, preprocess, { device, threads: 2 })
    const texts = randomTexts(device === 'auto' ? 120 : 24, 1)
    let together: Float32Array | undefined
    const rows = await rowsComputed(model, async () => {
      together = await encodeIds(model, texts)
    })
    t.is(rows, nodes(texts))
    t.true(rows < total(texts), `${rows} of ${total(texts)}`)
    t.deepEqual(rowsOf(together!, width), await alone(model, texts))
    await model.dispose()
  })
}

test('a single text computes only its own rows, and equal texts compute them once', async t => {
  const model = await loadNative(spec, preprocess)
  const text = [START, 11, 12, 13, END]
  const [one] = rowsOf(await encodeIds(model, [text]), width)
  t.is(model.counters().textRows, 5)
  const rows = await rowsComputed(model, async () => {
    for (const row of rowsOf(await encodeIds(model, [text, text, text]), width)) t.deepEqual(row, one)
  })
  t.is(rows, 5)
  await model.dispose()
})

test('without shared prefixes every row is computed once, with the causal mask', async t => {
  const model = await loadNative(spec, preprocess)
  const texts = [
    [1, 2, 3, END],
    [2, 2, 3, END],
    [3, END],
    [4, 5, 6, 7, 8, 9, END],
  ]
  let together: Float32Array | undefined
  const rows = await rowsComputed(model, async () => {
    together = await encodeIds(model, texts)
  })
  t.is(rows, total(texts))
  t.deepEqual(rowsOf(together!, width), await alone(model, texts))
  await model.dispose()
})

test('a trie of several chunks computes shared paths again, and gives the same bits', async t => {
  const model = await loadNative(spec, preprocess, { threads: 2 })
  // 700 texts below one long prefix: the trie has about twice as many nodes as a chunk has rows.
  const next = random(3)
  const prefix = [START, 100, 101, 102, 103, 104]
  const texts = Array.from({ length: 700 }, () => [
    ...prefix,
    ...Array.from({ length: 24 }, () => Math.floor(next() * 8000)),
    END,
  ])
  const unique = nodes(texts)
  t.true(unique > 2 * CHUNK_ROWS, `${unique} nodes`)
  let together: Float32Array | undefined
  const rows = await rowsComputed(model, async () => {
    together = await encodeIds(model, texts)
  })
  const chunks = Math.ceil(unique / CHUNK_ROWS)
  t.true(rows > unique, 'paths are computed again')
  t.true(rows <= unique + chunks * 32, `${rows} rows for ${unique} nodes`)
  const all = rowsOf(together!, width)
  for (let i = 0; i < texts.length; i += 29)
    t.deepEqual(all[i], await encodeIds(model, [texts[i]!]), `text ${i}`)
  await model.dispose()
})

test("the output 'tokens' has the rows of every text, with zeros up to the longest", async t => {
  const model = await loadNative(spec, preprocess)
  const texts = randomTexts(20, 5)
  const longest = Math.max(...texts.map(ids => ids.length))
  const together = await encodeIds(model, texts, 'tokens')
  const perText = rowsOf(together, longest * spec.text!.blocks.width)
  for (const [i, ids] of texts.entries()) {
    const own = await encodeIds(model, [ids], 'tokens')
    t.deepEqual(perText[i]!.subarray(0, own.length), own, `text ${i}`)
    t.true(perText[i]!.subarray(own.length).every(x => x === 0))
  }
  await model.dispose()
})

test('a token or a length that is out of range is refused', async t => {
  const model = await loadNative(spec, preprocess)
  for (const ids of [[START, 8194], [-1, END], new Array(33).fill(1)])
    await t.throwsAsync(async () => encodeIds(model, [[START, END], ids]), { code: 'ERR_CLIP_INPUT' })
  t.is((await encodeIds(model, [[START, END]])).length, width)
  await model.dispose()
})

for (const device of ['auto', 'reference'] as const)
  test(`a padded text has the same bits as one without padding on ${device}`, async t => {
    const model = await loadNative(spec, preprocess, { device })
    // The plain computation: every position, none cut off, the pooled row picked afterwards.
    const plain = await loadNative({ ...spec, text: { ...spec.text!, pool: 'last' } }, preprocess, { device })
    const { contextLength } = spec.text!.embed
    const textWidth = spec.text!.blocks.width
    for (const ids of randomTexts(8, 9)) {
      const padded = [...ids, ...new Array<number>(contextLength - ids.length).fill(END)]
      const all = rowsOf(await encodeIds(plain, [padded], 'tokens'), textWidth)
      t.is(all.length, contextLength)
      t.deepEqual(all[ids.length - 1], await encodeIds(model, [padded], 'pooled'))
      t.deepEqual(all[ids.length - 1], await encodeIds(model, [ids], 'pooled'))
    }
    await model.dispose()
    await plain.dispose()
  })

test('each kind of pool reads its own row, and the rows after it are not computed', async t => {
  const text = spec.text!
  const ids = [START, 5, END, 7, END, 9]
  for (const [pool, embed, rows] of [
    ['eos', { ...text.embed, endId: 5 }, 2],
    ['eos', { ...text.embed, endId: 6 }, 6],
    ['argmax', text.embed, 3],
    ['last', text.embed, 6],
  ] as const) {
    const model = await loadNative({ ...spec, text: { ...text, embed, pool } }, preprocess)
    const last = await loadNative({ ...spec, text: { ...text, pool: 'last' } }, preprocess)
    const row = await encodeIds(model, [ids])
    t.is(model.counters().textRows, rows, pool)
    t.deepEqual(row, await encodeIds(last, [ids.slice(0, rows)]), pool)
    t.is(model.textTokens(Int32Array.from([...ids, ...ids]), Int32Array.of(6, 6)), rows)
    await model.dispose()
    await last.dispose()
  }
})
