/** WebDataset archives as tar writers make them, and damaged ones. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import test from 'ava'
import { type Headers, pack } from 'tar-stream'
import { ClipError, openDataset, type Sample } from '../../lib/index.js'
import { generator } from '../helpers/random.js'

const folder = await mkdtemp(join(tmpdir(), 'clip-native-archive-'))
test.after.always(() => rm(folder, { recursive: true }))

type Member = [header: Headers, content?: string | Buffer]
async function tarOf(...members: Member[]): Promise<Buffer> {
  const tar = pack()
  for (const [header, content] of members) tar.entry(header, content)
  tar.finalize()
  return buffer(tar)
}

let files = 0
async function read(bytes: Uint8Array): Promise<Sample[]> {
  const path = join(folder, `${files++}.tar`)
  await writeFile(path, bytes)
  const samples: Sample[] = []
  for await (const sample of (await openDataset(path)).samples()) samples.push(sample)
  return samples
}
const filled = (byte: number, size: number) => Buffer.alloc(size, byte)

test('archives with other members, long names, both kinds of labels and large members are read', async t => {
  const long = `${'a folder of a name that no header holds/'.repeat(8)}0007`
  const samples = await read(
    await tarOf(
      [{ name: 'shard', type: 'directory' }],
      [{ name: 'shard/0.jpg' }, filled(1, 300_000)],
      [{ name: 'shard/0.txt' }, 'a caption'],
      [{ name: 'shard/0.cls' }, ' class \n'],
      [{ name: 'shard/link.png', type: 'symlink', linkname: '0.jpg' }],
      [{ name: 'shard/.hidden' }, 'x'],
      [{ name: 'shard/1.json' }, '{}'],
      [{ name: `${long}.webp` }, filled(2, 1)],
      [{ name: `${long}.txt` }, 'zwei, ü'],
      [{ name: '2.png', mtime: new Date(0) }, filled(3, 512)],
      [{ name: '2.cls' }, ''],
    ),
  )
  t.deepEqual(samples, [
    { image: filled(1, 300_000), label: 'class', captions: ['a caption'], name: 'shard/0' },
    { image: filled(2, 1), label: 'zwei, ü', name: long },
    { image: filled(3, 512), label: '', name: '2' },
  ])
})

test('a thousand small members in a single chunk are read', async t => {
  const members = Array.from({ length: 1000 }, (_, i): Member[] => [
    [{ name: `${i}.png` }, filled(i % 256, i % 700)],
    [{ name: `${i}.cls` }, `class ${i}`],
  ]).flat()
  const samples = await read(await tarOf(...members))
  t.is(samples.length, 1000)
  t.true(
    samples.every(({ label, image }, i) => label === `class ${i}` && (image as Buffer).length === i % 700),
  )
})

test('a reader that stops early leaves nothing open', async t => {
  const path = join(folder, 'early.tar')
  await writeFile(
    path,
    await tarOf(
      [{ name: '0.png' }, filled(0, 2 ** 20)],
      [{ name: '0.cls' }, 'a'],
      [{ name: '1.png' }, filled(0, 2 ** 20)],
      [{ name: '1.cls' }, 'b'],
    ),
  )
  const open = process.getActiveResourcesInfo().length
  for await (const { label } of (await openDataset(path)).samples()) {
    t.is(label, 'a')
    break
  }
  await new Promise(resolve => setTimeout(resolve, 50))
  t.true(process.getActiveResourcesInfo().length <= open)
  const controller = new AbortController()
  const all = (await openDataset(path)).samples(controller.signal)[Symbol.asyncIterator]()
  await all.next()
  controller.abort(new Error('enough'))
  await t.throwsAsync(Promise.resolve(all.next()), { message: 'enough' })
})

test('an archive that is cut or damaged anywhere gives samples or an error that names it, and ends', async t => {
  const whole = await tarOf(
    [{ name: 'a/0.png' }, filled(1, 1500)],
    [{ name: 'a/0.cls' }, 'one'],
    [{ name: `${'long/'.repeat(50)}1.png` }, filled(2, 700)],
    [{ name: `${'long/'.repeat(50)}1.cls` }, 'two'],
  )
  let refused = 0
  const attempt = async (bytes: Uint8Array) => {
    const error = await read(bytes).then(
      () => undefined,
      cause => cause,
    )
    if (!error) return
    refused++
    t.true(error instanceof ClipError && error.code === 'ERR_CLIP_INPUT', String(error?.stack))
    t.regex(error.message, /\d+\.tar: /)
  }
  for (let length = 0; length < whole.length - 1024; length += 171) await attempt(whole.subarray(0, length))
  t.is(refused, Math.ceil((whole.length - 1024) / 171))
  refused = 0
  const next = generator(5)
  for (let i = 0; i < 300; i++) {
    const bytes = Buffer.from(whole)
    for (let changes = 1 + Math.floor(next() * 3); changes > 0; changes--)
      bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256)
    await attempt(bytes)
  }
  t.true(refused > 50 && refused < 300, `${refused} refused`)
})
