/** Store files that are not what was written: a result or a typed error that names file and field. */

import { appendFile, cp, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { ClipError, type Store } from '../../lib/index.js'
import { formatLine } from '../../lib/store/log.js'
import { generator } from '../helpers/random.js'
import { all, embedder, items, scratch } from './helpers.js'

const { folder, fresh } = await scratch(test)
const good = join(folder, 'good')
test.before(async () => {
  const clip = await embedder()
  await using store = await clip.openStore(good, { create: true })
  await store.add(items(100))
  await store.add(items(50, 100))
})

/** A copy of the good store, changed. */
async function changed(change: (path: string) => Promise<unknown>): Promise<string> {
  const path = fresh()
  await cp(good, path, { recursive: true })
  await change(path)
  return path
}

const dim = async () => (await embedder()).info.embedDim

test('readers and writers ignore the incomplete data that a killed writer leaves at the end', async t => {
  const clip = await embedder()
  const rowBytes = 4 * (await dim())
  const vectorsOf = async (store: Store) =>
    Buffer.concat(
      (await all(store.batches())).map(({ embeddings: { data } }) => Buffer.from(data.slice().buffer)),
    )
  const vectors = await readFile(join(good, 'vectors.bin'))
  const log = await readFile(join(good, 'items.log'))
  const lastLine = log.lastIndexOf(10, log.length - 2) + 1
  const whole: [string, (path: string) => Promise<unknown>, number][] = [
    ['vectors without ids', path => appendFile(join(path, 'vectors.bin'), Buffer.alloc(3 * rowBytes)), 150],
    ['half a row', path => appendFile(join(path, 'vectors.bin'), Buffer.alloc(rowBytes / 2)), 150],
    ['half a line', path => truncate(join(path, 'items.log'), lastLine + 20), 149],
    ['a line without its end', path => truncate(join(path, 'items.log'), log.length - 1), 149],
    ['zeros after the lines', path => appendFile(join(path, 'items.log'), Buffer.alloc(4096)), 150],
    ['a line of zeros', path => appendFile(join(path, 'items.log'), `${'\0'.repeat(300)}\n`), 150],
    [
      'a megabyte without a line',
      path => appendFile(join(path, 'items.log'), Buffer.alloc(3 << 20, 65)),
      150,
    ],
    [
      'ids that were not written in full',
      async path => {
        await truncate(join(path, 'items.log'), log.indexOf(10, lastLine - 2000) + 1)
      },
      -1,
    ],
  ]
  for (const [name, change, size] of whole) {
    const path = await changed(change)
    await using store = await clip.openStore(path)
    if (size >= 0) t.is(store.size, size, name)
    await store.search('x')
    await store.add(items(150))
    t.is(store.size, 150, name)
    t.true((await vectorsOf(store)).equals(vectors), name)
    t.is((await store.search('x', { topK: 1000 })).length, 150, name)
    t.deepEqual(
      await all(store.ids()),
      items(150).map(i => i.id),
      name,
    )
    await using again = await clip.openStore(path)
    t.is(again.size, 150, name)
    t.like(await again.add(items(150)), { added: 0, skipped: 150 }, name)
    await again.compact()
    t.is((await all(again.nearDuplicates({ threshold: -1 }))).length, (150 * 149) / 2, name)
    t.true((await vectorsOf(again)).equals(vectors), name)
  }
})

test('the error for damage names the file and the field', async t => {
  const clip = await embedder()
  const rowBytes = 4 * (await dim())
  const header = JSON.parse(await readFile(join(good, 'store.json'), 'utf8'))
  const setHeader = (change: object) => (path: string) =>
    writeFile(join(path, 'store.json'), JSON.stringify({ ...header, ...change }))
  const flip = (name: string, at: number) => async (path: string) => {
    const bytes = await readFile(join(path, name))
    bytes[at < 0 ? bytes.length + at : at]! ^= 1
    await writeFile(join(path, name), bytes)
  }
  const item = { id: 'z', row: 150, first: 150, crc: 1 }
  const log = await readFile(join(good, 'items.log'), 'latin1')
  const lineOf = (byte: number) => log.slice(0, byte).split('\n').length
  const append = (more: object) => async (path: string) => {
    await appendFile(join(path, 'vectors.bin'), Buffer.alloc(rowBytes))
    await appendFile(join(path, 'items.log'), formatLine({ ...item, ...more }))
  }
  const cases: [string, string, RegExp, (path: string) => Promise<unknown>][] = [
    ['no JSON', 'store.json', /^format$/, path => writeFile(join(path, 'store.json'), '{"format')],
    ['JSON null', 'store.json', /^format$/, path => writeFile(join(path, 'store.json'), 'null')],
    ['not UTF-8', 'store.json', /^format$/, path => writeFile(join(path, 'store.json'), Buffer.from([0xff]))],
    ['a huge header', 'store.json', /^format$/, path => truncate(join(path, 'store.json'), 1 << 30)],
    ['another format', 'store.json', /^format$/, setHeader({ format: 'x' })],
    ['another version', 'store.json', /^version$/, setHeader({ version: 2 })],
    ['no dim', 'store.json', /^embedDim$/, setHeader({ embedDim: undefined })],
    ['a huge dim', 'store.json', /^embedDim$/, setHeader({ embedDim: 1e9 })],
    ['another dim', 'store.json', /^embedDim$/, setHeader({ embedDim: 8 })],
    ['another dtype', 'store.json', /^dtype$/, setHeader({ dtype: 'float64' })],
    ['a wider dtype', 'vectors.bin', /^row/, setHeader({ dtype: 'bfloat16' })],
    ['vectors cut', 'vectors.bin', /^rows$/, path => truncate(join(path, 'vectors.bin'), 149 * rowBytes + 5)],
    ['vectors gone', 'vectors.bin', /^rows$/, path => rm(join(path, 'vectors.bin'))],
    ['items gone', 'items.log', /^items$/, path => rm(join(path, 'items.log'))],
    [
      'items a folder',
      'items.log',
      /^items$/,
      async path => {
        await rm(join(path, 'items.log'))
        await mkdir(join(path, 'items.log'))
      },
    ],
    ['a last vector changed', 'vectors.bin', /^row 149$/, flip('vectors.bin', -1)],
    ['a line changed', 'items.log', new RegExp(`^line ${lineOf(250)}$`), flip('items.log', 250)],
    ['a row that is not its line', 'items.log', /^line 151$/, append({ row: 151 })],
    ['a vector of another checksum', 'vectors.bin', /^row 150$/, append({})],
  ]
  for (const [name, file, field, change] of cases) {
    const path = await changed(change)
    const error = await t.throwsAsync(clip.openStore(path), { instanceOf: ClipError }, name)
    t.is(error?.code, 'ERR_CLIP_CHECKPOINT', name)
    t.is(error?.file, join(path, file), name)
    t.regex(error?.field ?? '', field, name)
  }
  // What opening does not look at is seen when it is read.
  await using early = await clip.openStore(await changed(flip('vectors.bin', 0)))
  for (const call of [
    () => all(early.batches()),
    () => all(early.nearDuplicates({ threshold: 0.9 })),
    () => early.export(join(folder, 'x.npy')),
  ])
    t.like(await t.throwsAsync(call()), { code: 'ERR_CLIP_CHECKPOINT', field: 'row 0' })
  const twice = await changed(async path => {
    const { crc32 } = await import('node:zlib')
    await append({ id: 'image 1', crc: crc32(Buffer.alloc(rowBytes)) })(path)
  })
  await using store = await clip.openStore(twice)
  t.like(await t.throwsAsync(store.add(items(1))), { code: 'ERR_CLIP_CHECKPOINT', field: 'row 150' })
})

test('vectors that are truncated while the store is open are an error', async t => {
  const clip = await embedder()
  const path = await changed(async () => {})
  await using store = await clip.openStore(path)
  await store.search('x')
  await truncate(join(path, 'vectors.bin'), 100)
  await t.throwsAsync(store.search('x'), { code: 'ERR_CLIP_CHECKPOINT' })
  await truncate(join(path, 'items.log'), 100)
  await t.throwsAsync(store.search('x'), { code: 'ERR_CLIP_CHECKPOINT' })
})

test('each of two hundred random changes to a store gives a result or a ClipError', async t => {
  const clip = await embedder()
  const random = generator(7)
  const path = fresh()
  for (let i = 0; i < 200; i++) {
    await cp(good, path, { recursive: true, force: true })
    const name = ['store.json', 'items.log', 'vectors.bin'][i % 3]!
    let bytes = await readFile(join(path, name))
    const at = Math.floor(random() * bytes.length)
    const kind = i % 4
    if (kind === 0) bytes = bytes.subarray(0, at)
    else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at >> 1)])
    else for (let n = 0; n < 1 + kind * 8; n++) bytes[Math.floor(random() * bytes.length)] = random() * 256
    await writeFile(join(path, name), bytes)
    try {
      await using store = await clip.openStore(path)
      t.is((await store.search('x', { topK: 5 })).length, Math.min(5, store.size))
      await all(store.batches())
      await store.add(items(2))
      await using _ = await clip.openStore(path)
    } catch (error) {
      if (!(error instanceof ClipError)) throw error
    }
  }
  t.pass()
})
