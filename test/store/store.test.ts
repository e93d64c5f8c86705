import { readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { type Clip, ClipError, Embeddings, type Store } from '../../lib/index.js'
import { normal } from '../helpers/random.js'
import { all, embedder, items, noise, scratch, writeImages } from './helpers.js'

const { folder, fresh } = await scratch(test)
const dtypes = ['float32', 'bfloat16', 'int8'] as const

async function rowsOf(store: Store): Promise<Map<string, Float32Array>> {
  const rows = new Map<string, Float32Array>()
  for await (const { ids, embeddings } of store.batches())
    for (const [i, id] of ids.entries()) rows.set(id, embeddings.row(i).slice())
  return rows
}

const cosine = (a: Float32Array, b: Float32Array) => {
  let [dot, aa, bb] = [0, 0, 0]
  for (let j = 0; j < a.length; j++) {
    dot += a[j]! * b[j]!
    aa += a[j]! ** 2
    bb += b[j]! ** 2
  }
  return dot / Math.sqrt(aa * bb)
}

test('added items are in the store once, with the bits of encodeImage', async t => {
  const clip = await embedder()
  const path = fresh()
  const images = items(150)
  {
    await using store = await clip.openStore(path, { create: true })
    t.is(store.size, 0)
    t.deepEqual(await store.search('nothing yet'), [])
    const seen: number[] = []
    const result = await store.add([...images, images[3]!], { onProgress: p => seen.push(p.done) })
    t.deepEqual(result, { added: 150, updated: 0, skipped: 1, errors: [] })
    t.true(seen.length >= 3 && seen.at(-1) === 151 && seen.every((x, i) => i === 0 || x >= seen[i - 1]!))
  }
  await using store = await clip.openStore(path)
  t.is(store.size, 150)
  t.deepEqual(
    await all(store.ids()),
    images.map(p => p.id),
  )
  t.deepEqual(await store.add(images), { added: 0, updated: 0, skipped: 150, errors: [] })
  const expected = await clip.encodeImage(images.map(p => p.image))
  const bytes = await readFile(join(path, 'vectors.bin'))
  t.deepEqual(
    new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)),
    expected.data,
  )
})

for (const dtype of dtypes)
  test(`search in ${dtype} ranks like a plain loop over the vectors, with ties by age`, async t => {
    const clip = await embedder()
    await using store = await clip.openStore(fresh(), { create: true, dtype })
    await store.add(items(300))
    // Three items with the embedding of item 7.
    await store.add(['x', 'y', 'z'].map(id => ({ id, image: noise(8) })))
    const rows = await rowsOf(store)
    const tolerance = { float32: 1e-6, bfloat16: 1e-6, int8: 2e-4 }[dtype]
    for (let seed = 1; seed <= 5; seed++) {
      const query = normal(seed, clip.info.embedDim)
      const found = await store.search(new Embeddings(query, [1, query.length]), { topK: 20 })
      t.is(found.length, 20)
      const scores = [...rows].map(([id, row]) => ({ id, score: cosine(query, row) }))
      scores.sort((a, b) => b.score - a.score)
      for (const [i, { id, score }] of found.entries()) {
        t.true(Math.abs(score - cosine(query, rows.get(id)!)) <= tolerance)
        t.true(Math.abs(score - scores[i]!.score) <= tolerance)
        t.true(i === 0 || score <= found[i - 1]!.score)
      }
      t.is(new Set(found.map(f => f.id)).size, 20)
    }
    const same = await store.search(noise(8), { topK: 4 })
    t.deepEqual(
      same.map(s => s.id),
      ['image 7', 'x', 'y', 'z'],
    )
    t.is(new Set(same.map(s => s.score)).size, 1)
    t.is((await store.search('red', { topK: 10_000 })).length, 303)
  })

test('a query may be a text, an image, both or an embedding', async t => {
  const clip = await embedder()
  await using store = await clip.openStore(fresh(), { create: true })
  await store.add(items(40))
  const [text, image] = [await clip.encodeText('a red dog'), await clip.encodeImage(noise(5))]
  t.deepEqual(await store.search('a red dog'), await store.search(text))
  t.deepEqual(await store.search({ text: 'a red dog' }), await store.search(text))
  t.deepEqual(await store.search(noise(5)), await store.search({ image: noise(5) }))
  t.is((await store.search(noise(5)))[0]!.id, 'image 4')
  const sum = text.data.map((x, j) => 0.3 * x + 0.7 * image.data[j]!)
  t.deepEqual(
    await store.search({ text: 'a red dog', image: noise(5), weight: 0.3 }),
    await store.search(new Embeddings(sum, [1, sum.length])),
  )
})

test('changed files are embedded again and found once', async t => {
  const clip = await embedder()
  const files = await writeImages(join(folder, 'images'), 20)
  await using store = await clip.openStore(fresh(), { create: true })
  const missing = join(folder, 'missing.png')
  const first = await store.add([...files, missing], { errors: 'collect' })
  t.is(first.added, 20)
  t.deepEqual(
    first.errors.map(e => [e.id, e.error.code]),
    [[missing, 'ERR_CLIP_IMAGE']],
  )
  await t.throwsAsync(store.add([missing]), { code: 'ERR_CLIP_IMAGE' })
  t.like(await store.add(files), { added: 0, skipped: 20 })
  await writeFile(files[4]!, await readFile(files[9]!))
  await utimes(files[5]!, 1, 1)
  t.like(await store.add(files), { added: 0, updated: 2, skipped: 18 })
  t.like(await store.add(files), { added: 0, updated: 0, skipped: 20 })
  t.is(store.size, 20)
  t.deepEqual((await all(store.ids())).sort(), [...files].sort())
  const rows = await rowsOf(store)
  t.deepEqual(rows.get(files[4]!), (await clip.encodeImage(files[4]!)).data)
  const found = await store.search({ image: files[9]! }, { topK: 1000 })
  t.is(found.length, 20)
  t.is(new Set(found.map(f => f.id)).size, 20)
  t.is(found.find(f => f.id === files[4])!.score, found.find(f => f.id === files[9])!.score)
  await using again = await clip.openStore(store.folder)
  t.is(again.size, 20)
  t.deepEqual(await rowsOf(again), rows)
})

test('two open stores of one folder add at the same time, and each sees the items of the other', async t => {
  const clip = await embedder()
  const path = fresh()
  await using a = await clip.openStore(path, { create: true })
  await using b = await clip.openStore(path, { create: true })
  const both = await Promise.all([a.add(items(100)), b.add(items(100, 50)), a.add(items(10, 500))])
  t.is(
    both.reduce((n, r) => n + r.added, 0),
    160,
  )
  for (const store of [a, b]) {
    t.is((await store.search('x', { topK: 1000 })).length, 160)
    t.is(new Set(await all(store.ids())).size, 160)
  }
})

for (const dtype of dtypes)
  test(`near duplicates in ${dtype} are those of a plain loop, without replaced rows`, async t => {
    const clip = await embedder()
    await using store = await clip.openStore(fresh(), { create: true, dtype })
    // More than one tile of 1024 rows, once.
    const [count, pairs] = dtype === 'float32' ? [1100, 2000] : [150, 200]
    await store.add(items(count))
    await store.add([{ id: 'twin', image: noise(3) }])
    const rows = [...(await rowsOf(store))]
    const exact = new Map<string, number>()
    const scores: number[] = []
    for (let i = 0; i < rows.length; i++)
      for (let j = i + 1; j < rows.length; j++) scores.push(cosine(rows[i]![1], rows[j]![1]))
    const threshold = [...scores].sort((x, y) => y - x)[pairs]!
    let at = 0
    for (let i = 0; i < rows.length; i++)
      for (let j = i + 1; j < rows.length; j++) {
        const score = scores[at++]!
        if (score > threshold - 1e-5) exact.set(`${rows[i]![0]}|${rows[j]![0]}`, score)
      }
    const found = await all(store.nearDuplicates({ threshold }))
    t.true(found.length > pairs - 20)
    t.is(new Set(found.map(f => `${f.a}|${f.b}`)).size, found.length)
    for (const { a, b, score } of found) t.true(Math.abs(exact.get(`${a}|${b}`)! - score) < 1e-5)
    const keys = new Set(found.map(f => `${f.a}|${f.b}`))
    for (const [key, score] of exact) if (score > threshold + 1e-5) t.true(keys.has(key), key)
    t.true(keys.has('image 2|twin'))
  })

test('invalid arguments, another model and a closed store are refused', async t => {
  const clip = await embedder()
  const path = fresh()
  await t.throwsAsync(clip.openStore(path), { code: 'ERR_CLIP_INPUT', message: /create: true/ })
  await t.throwsAsync(clip.openStore(folder, { create: true }), {
    code: 'ERR_CLIP_INPUT',
    message: /contains other files/,
  })
  await t.throwsAsync(clip.openStore(path, { creat: true } as never), { instanceOf: TypeError })
  const store = await clip.openStore(path, { create: true })
  await t.throwsAsync(clip.openStore(path, { dtype: 'int8' }), { instanceOf: TypeError })
  for (const wrong of [
    null,
    3,
    [],
    {},
    { text: 3 },
    { text: 'x', weight: 2 },
    { image: [] },
    new Embeddings(new Float32Array(3), [1, 3]),
  ])
    await t.throwsAsync(store.search(wrong as never), { code: 'ERR_CLIP_INPUT' })
  for (const wrong of [
    null,
    3,
    [null],
    [''],
    [{ id: '', image: noise(1) }],
    [{ id: 'a', image: [] }],
    [{ id: '\ud800', image: noise(1) }],
  ])
    await t.throwsAsync(store.add(wrong as never), { code: 'ERR_CLIP_INPUT' })
  for (const wrong of [undefined, {}, { threshold: 2 }])
    await t.throwsAsync(all(store.nearDuplicates(wrong as never)), { code: 'ERR_CLIP_INPUT' })
  await t.throwsAsync(store.search('x', { topK: 0 }), { instanceOf: RangeError })
  const reason = new Error('enough')
  for (const call of [
    (signal: AbortSignal) => store.search('x', { signal }),
    (signal: AbortSignal) => store.add(items(3), { signal }),
    (signal: AbortSignal) => all(store.nearDuplicates({ threshold: 0.5, signal })),
  ])
    t.is(await t.throwsAsync(call(AbortSignal.abort(reason))), reason)
  const control = new AbortController()
  const stopped = store.add(items(500), { signal: control.signal, onProgress: () => control.abort(reason) })
  t.is(await t.throwsAsync(stopped), reason)
  t.is(store.size, 64)
  t.like(await store.add(items(500)), { added: 436, skipped: 64 })
  const header = JSON.parse(await readFile(join(path, 'store.json'), 'utf8'))
  await writeFile(join(path, 'store.json'), JSON.stringify({ ...header, fingerprint: 'f'.repeat(32) }))
  const error = await t.throwsAsync(clip.openStore(path), { instanceOf: ClipError })
  t.like(error, { code: 'ERR_CLIP_MODEL_MISMATCH', field: 'fingerprint', file: join(path, 'store.json') })
  await store.close()
  await store.close()
  for (const call of [() => store.search('x'), () => store.add(items(1)), () => all(store.ids())])
    await t.throwsAsync(call(), { code: 'ERR_CLIP_DISPOSED' })
})

test('a reader that stops early leaves no file open', async t => {
  const clip: Clip = await embedder()
  await using store = await clip.openStore(fresh(), { create: true })
  await store.add(items(30))
  for await (const _ of store.batches()) break
  for await (const _ of store.ids()) break
  for await (const _ of store.nearDuplicates({ threshold: -1 })) break
  t.true((await stat(store.folder)).isDirectory())
})
