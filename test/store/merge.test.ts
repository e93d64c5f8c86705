/** Merging stores: what is there afterwards is what one store would have, in that order and to the byte. */

import { readFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { ClipError, type Store, type StoreDtype } from '../../lib/index.js'
import { all, embedder, items, noise, scratch, writeImages } from './helpers.js'

const { folder, fresh } = await scratch(test)

async function storeOf(inputs: Parameters<Store['add']>[0], dtype: StoreDtype = 'float32') {
  const clip = await embedder()
  const store = await clip.openStore(fresh(), { create: true, dtype })
  await store.add(inputs)
  return store
}

const vectorsOf = (store: Store) => readFile(join(store.folder, 'vectors.bin'))

/** Lines without their batches: ids, sizes, times and checksums. */
const linesOf = async (store: Store) =>
  (await readFile(join(store.folder, 'items.log'), 'utf8'))
    .trim()
    .split('\n')
    .map(line => ({ ...JSON.parse(line.slice(9)), first: 0 }))

for (const dtype of ['float32', 'bfloat16', 'int8'] as const)
  test(`${dtype}: two merged parts equal the whole, and merging again adds nothing`, async t => {
    const files = await writeImages(join(folder, dtype), 9)
    const whole = await storeOf([...items(70), ...files, ...items(20, 70)], dtype)
    const parts = [await storeOf(items(70), dtype), await storeOf([...files, ...items(20, 70)], dtype)]
    const target = await storeOf([], dtype)
    const seen: number[] = []
    t.deepEqual(await target.merge(parts[0]!, { onProgress: p => seen.push(p.done, p.total) }), {
      added: 70,
      updated: 0,
      skipped: 0,
    })
    t.deepEqual(seen, [70, 70])
    t.deepEqual(await target.merge(parts[1]!), { added: 29, updated: 0, skipped: 0 })
    t.is(target.size, 99)
    t.deepEqual(await vectorsOf(target), await vectorsOf(whole))
    t.deepEqual(await linesOf(target), await linesOf(whole))
    t.deepEqual(await target.merge(parts[0]!), { added: 0, updated: 0, skipped: 70 })
    t.deepEqual(await vectorsOf(target), await vectorsOf(whole))
    // Files are known by size and time: `add` goes on where the merge ended.
    t.like(await target.add(files), { added: 0, skipped: 9 })
    const clip = await embedder()
    const again = await clip.openStore(target.folder)
    t.deepEqual(await all(again.ids()), await all(whole.ids()))
    t.deepEqual(
      await again.search({ image: noise(80) }, { topK: 5 }),
      await whole.search({ image: noise(80) }, { topK: 5 }),
    )
  })

test('a merge of more rows than a batch leaves out replaced rows of the source', async t => {
  const files = await writeImages(join(folder, 'replaced'), 6)
  const source = await storeOf([...files, ...items(1100)])
  for (const file of files.slice(0, 4)) await utimes(file, 1e9, 1e9)
  await source.add(files)
  t.is(source.size, 1106)
  const target = await storeOf(items(3))
  t.deepEqual(await target.merge(source), { added: 1103, updated: 0, skipped: 3 })
  const ids = await all(target.ids())
  t.is(new Set(ids).size, 1106)
  t.deepEqual(ids, [
    ...items(3).map(item => item.id),
    ...files.slice(4),
    ...items(1097, 3).map(item => item.id),
    ...files.slice(0, 4),
  ])
})

test('a changed file replaces the old item when stores are merged', async t => {
  const files = await writeImages(join(folder, 'changed'), 5)
  const old = await storeOf(files)
  await utimes(files[2]!, 1e9, 1e9)
  const newer = await storeOf(files)
  t.deepEqual(await old.merge(newer), { added: 0, updated: 1, skipped: 4 })
  t.is(old.size, 5)
  t.deepEqual(await old.merge(newer), { added: 0, updated: 0, skipped: 5 })
  t.deepEqual((await all(old.ids())).sort(), [...files].sort())
})

test('an abort keeps the rows on disk, and the same call continues', async t => {
  const size = 2100
  const source = await storeOf(items(size))
  const target = await storeOf([])
  const control = new AbortController()
  const stop = new Error('enough')
  const merging = target.merge(source, { signal: control.signal, onProgress: () => control.abort(stop) })
  t.is(await t.throwsAsync(merging), stop)
  t.is(target.size, 1024)
  t.deepEqual(await target.merge(source), { added: size - 1024, updated: 0, skipped: 1024 })
  t.deepEqual(await vectorsOf(target), await vectorsOf(source))
})

test('a damaged row is named and not merged', async t => {
  const source = await storeOf(items(1100))
  const path = join(source.folder, 'vectors.bin')
  const bytes = await readFile(path)
  bytes[5 * 4 * source.embedDim] ^= 1
  await writeFile(path, bytes)
  const target = await storeOf([])
  const error = await t.throwsAsync(target.merge(source), {
    instanceOf: ClipError,
    code: 'ERR_CLIP_CHECKPOINT',
  })
  t.is((error as ClipError).field, 'row 5')
  t.is(target.size, 0)
})

test('stores that cannot be merged are refused', async t => {
  const target = await storeOf(items(2))
  const other = await storeOf(items(2), 'int8')
  await t.throwsAsync(target.merge(other), {
    instanceOf: RangeError,
    message: /have the dtype 'float32', .*got int8/,
  })
  await t.throwsAsync(target.merge(target), { instanceOf: RangeError, message: /be another store/ })
  await t.throwsAsync(target.merge('folder' as never), {
    instanceOf: TypeError,
    message: /`source` to be a store/,
  })
  await t.throwsAsync(target.merge(await storeOf([]), { dtype: 1 } as never), { instanceOf: TypeError })
  const closed = await storeOf(items(1))
  await closed.close()
  await t.throwsAsync(target.merge(closed), { code: 'ERR_CLIP_DISPOSED' })
  t.is(target.size, 2)
})
