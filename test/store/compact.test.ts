/** Compaction: rows that were replaced go, everything else stays as it was, whatever happens meanwhile. */

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rename, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import type { Store, StoreDtype } from '../../lib/index.js'
import { nightly } from '../helpers/nightly.js'
import { patience } from '../helpers/patience.js'
import { generator } from '../helpers/random.js'
import { all, embedder, items, model, scratch, writeImages } from './helpers.js'

const { folder, fresh } = await scratch(test)
let made = 0

/** A store of 40: 12 image files, half of which were embedded twice, between 20 and 8 others. */
async function withReplaced(dtype: StoreDtype = 'float32') {
  const clip = await embedder()
  const files = await writeImages(join(folder, `images-${made++}`), 12)
  const store = await clip.openStore(fresh(), { create: true, dtype })
  await store.add(items(20))
  await store.add(files)
  for (const file of files.slice(0, 6)) await utimes(file, 1e9, 1e9)
  await store.add([...files, ...items(8, 20)])
  return { clip, files, store }
}

async function content(store: Store) {
  const rows: [string, Buffer][] = []
  for await (const { ids, embeddings } of store.batches())
    for (const [i, id] of ids.entries()) rows.push([id, Buffer.from(embeddings.row(i).slice().buffer)])
  return rows
}

const namesIn = async (store: Store) => (await readdir(store.folder)).sort()
const headerOf = async (store: Store) =>
  JSON.parse(await readFile(join(store.folder, 'store.json'), 'utf8')) as { generation?: string }

for (const dtype of ['float32', 'int8'] as const)
  test(`${dtype}: compaction keeps ids, order, vectors and search results, and removes replaced rows`, async t => {
    const { clip, files, store } = await withReplaced(dtype)
    const before = await content(store)
    t.is(before.length, 40)
    const found = await store.search('a red circle', { topK: 40 })
    const other = await clip.openStore(store.folder)
    const reading = other.batches()
    const first = await reading.next()

    const seen: number[] = []
    const { removed, bytes } = await store.compact({ onProgress: p => seen.push(p.done) })
    t.is(removed, 6)
    t.true(bytes > 6 * store.embedDim)
    t.is(seen.at(-1), 46)
    const { generation } = await headerOf(store)
    t.deepEqual(await namesIn(store), [`items-${generation}.log`, 'store.json', `vectors-${generation}.bin`])
    const bytesPer = { float32: 4, int8: 1 }[dtype]
    const vectors = await readFile(join(store.folder, `vectors-${generation}.bin`))
    t.is(vectors.length, 40 * store.embedDim * bytesPer)

    // Who read goes on with what was there; who comes next sees the same under new names.
    const rest: string[] = [...first.value!.ids]
    for await (const { ids } of reading) rest.push(...ids)
    t.deepEqual(
      rest,
      before.map(([id]) => id),
    )
    for (const view of [store, other, await clip.openStore(store.folder)]) {
      t.is(view.size, 40)
      t.deepEqual(await content(view), before)
      t.deepEqual(await view.search('a red circle', { topK: 40 }), found)
    }
    t.deepEqual(await other.compact(), { removed: 0, bytes: 0 })

    // Adding goes on: what is there is known, what changed takes the place of the right row.
    await utimes(files[10]!, 1e9, 1e9)
    t.like(await other.add([...files, ...items(3, 28)]), { added: 3, updated: 1, skipped: 11 })
    t.like(await store.compact(), { removed: 1 })
    t.is((await all(store.ids())).length, 43)
  })

test('a killed compaction leaves a readable store, and the next writer removes its files', async t => {
  const { clip, store } = await withReplaced()
  const before = await content(store)
  // Killed before the rename: new files, the old header.
  for (const name of ['vectors-0123456789ab.bin', 'items-0123456789ab.log', 'store.json.0123456789ab.part'])
    await writeFile(join(store.folder, name), 'half of')
  await using reopened = await clip.openStore(store.folder)
  t.deepEqual(await content(reopened), before)
  await reopened.add(items(1))
  t.deepEqual(await namesIn(store), ['items.log', 'store.json', 'vectors.bin'])

  // Killed after the rename: the new header, the old files.
  for (const name of ['vectors.bin', 'items.log'])
    await writeFile(join(store.folder, `${name}.kept`), await readFile(join(store.folder, name)))
  await reopened.compact()
  for (const name of ['vectors.bin', 'items.log'])
    await rename(join(store.folder, `${name}.kept`), join(store.folder, name))
  await using again = await clip.openStore(store.folder)
  t.deepEqual(await content(again), before)
  await again.compact()
  t.is((await namesIn(store)).length, 3)
})

test('the command compacts a store, and another process with the store open sees the new files', async t => {
  const { store } = await withReplaced()
  const before = await content(store)
  const main = join(packageRoot, 'dist', 'lib', 'cli', 'main.js')
  const args = [main, 'compact', store.folder, '--json']
  if (model) args.push('--model', model)
  const { stdout } = await promisify(execFile)(process.execPath, args)
  t.like(JSON.parse(stdout), { size: 40, removed: 6 })
  t.deepEqual(await content(store), before)
  t.is((await namesIn(store)).length, 3)
})

test('damage, which is named, and an abort stop a compaction, and the store is unchanged', async t => {
  const { clip, store } = await withReplaced()
  const reason = new Error('enough')
  await t.throwsAsync(store.compact({ signal: AbortSignal.abort(reason) }), { is: reason })
  const control = new AbortController()
  const stopped = store.compact({ signal: control.signal, onProgress: () => control.abort(reason) })
  // The signal comes with the last rows: what is written by then may take its place or not.
  await stopped.catch(error => t.is(error, reason))
  t.is((await content(store)).length, 40)

  const { store: damaged } = await withReplaced()
  const path = join(damaged.folder, 'vectors.bin')
  const vectors = await readFile(path)
  vectors[5 * 4 * damaged.embedDim]! ^= 1
  await writeFile(path, vectors)
  await t.throwsAsync(damaged.compact(), { code: 'ERR_CLIP_CHECKPOINT', message: /row 5 is damaged/ })
  t.deepEqual(await namesIn(damaged), ['items.log', 'store.json', 'vectors.bin'])
  t.is((await clip.openStore(damaged.folder)).size, 40)
  // @ts-expect-error
  await t.throwsAsync(store.compact({ signals: undefined }), { instanceOf: TypeError })
})

nightly('a store stays complete when compactions are killed again and again', async t => {
  t.timeout(patience * 120_000)
  const clip = await embedder()
  const files = await writeImages(join(folder, 'killed'), 12)
  const path = fresh()
  await using store = await clip.openStore(path, { create: true })
  await store.add([...items(60), ...files])
  const before = await content(store)
  const random = generator(Date.now())
  let compacted = 0
  for (let i = 0; i < 10; i++) {
    const script = join(packageRoot, 'dist/test/store/compact-child.js')
    const child = spawn(process.execPath, [script, model ?? '', path, ...files], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    child.stdout.setEncoding('utf8').on('data', text => {
      compacted += text.split('done').length - 1
    })
    const ended = once(child, 'exit')
    await Promise.race([once(child.stdout, 'data'), ended])
    // Compaction takes some 15 ms on an idle machine: many of these end in the middle of one.
    await sleep(random() * 60)
    child.kill('SIGKILL')
    t.is((await ended)[1], 'SIGKILL')
    const after = new Map(await content(store))
    t.is(after.size, before.length)
    for (const [id, row] of before) t.true(after.get(id)?.equals(row), id)
  }
  t.log(`${compacted} compactions, 10 kills`)
  await store.compact()
  t.is((await namesIn(store)).length, 3)
})
