/** The walk through a folder of images: nothing missed, nothing twice, nothing left out in silence. */

import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import {
  ClipError,
  type ImageFilesOptions,
  imageFiles,
  isImageName,
  type LeftOut,
  load,
} from '../../lib/index.js'
import { exampleImages } from '../api/helpers.js'
import { child, lib } from '../helpers/child.js'

const base = await mkdtemp(join(tmpdir(), 'clip-native-files-'))
test.after.always(() => rm(base, { recursive: true, force: true }))

/** A folder with these files in it; 'a -> b' is a link. */
async function folderOf(name: string, entries: readonly string[]): Promise<string> {
  const root = join(base, name)
  await mkdir(root, { recursive: true })
  const made = new Set<string>()
  for (const entry of entries) {
    const [path, target] = entry.split(' -> ') as [string, string?]
    const folder = join(root, path, '..')
    if (!made.has(folder)) await mkdir(folder, { recursive: true })
    made.add(folder)
    if (target !== undefined) await symlink(target, join(root, path))
    else await writeFile(join(root, path), '')
  }
  return root
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const one of source) list.push(one)
  return list
}

async function walked(root: string, options: ImageFilesOptions = {}) {
  const files: string[] = []
  const leftOut: Record<string, string> = {}
  const onLeftOut = ({ path, reason }: LeftOut) => {
    leftOut[path.slice(root.length + 1)] = reason
  }
  for await (const file of imageFiles(root, { onLeftOut, ...options }))
    files.push(file.slice(root.length + 1))
  return { files, leftOut }
}

test('all of thousands of files in nested folders are found, in the order of their paths', async t => {
  const names: string[] = []
  for (let i = 0; i < 40; i++) for (let j = 0; j < 49; j++) names.push(`${i % 7}/${i}/${j}.png`)
  names.push(...Array.from({ length: 1500 }, (_, i) => `many/${i}.jpg`))
  const root = await folderOf('many', names)
  const { files, leftOut } = await walked(root)
  t.deepEqual(files, names.sort())
  t.deepEqual(leftOut, {})
})

test('paths are sorted as a whole, "a-b.png" before "a/b.png" and capitals before small letters', async t => {
  const root = await folderOf('order', [
    'a/b.png',
    'a-b.png',
    'a.png',
    'B.png',
    'a/c/d.png',
    'ä.png',
    '😀.png',
  ])
  const { files } = await walked(root)
  t.deepEqual(files, ['B.png', 'a-b.png', 'a.png', 'a/b.png', 'a/c/d.png', 'ä.png', '😀.png'])
})

test('all image extensions are accepted, in upper case too, and other files are reported as left out', async t => {
  const extensions = ['jpg', 'jpeg', 'jpe', 'jfif', 'jif', 'png', 'webp', 'gif', 'bmp', 'dib', 'tif', 'tiff']
  extensions.push('avif', 'heic', 'heif', 'svg')
  const good = extensions.flatMap(e => [`a.${e}`, `B.${e.toUpperCase()}`, `c.d.${e}`])
  const bad = ['notes.txt', 'png', 'a.png.part', 'Thumbs.db', 'x.pngx', 'y.', '.json']
  const root = await folderOf('names', [...good, ...bad])
  const { files, leftOut } = await walked(root)
  t.deepEqual(files, good.sort())
  t.deepEqual(Object.keys(leftOut).sort(), bad.sort())
  t.deepEqual(new Set(Object.values(leftOut)), new Set(['name']))
  for (const name of good) t.true(isImageName(`folder.txt/${name}`), name)
  for (const name of bad) t.false(isImageName(`folder.png/${name}`), name)
})

const linked = [
  ...['a/1.png', 'a/up -> ..', 'a/self -> .', 'b/one.png -> ../a/1.png', 'b/gone.png -> nowhere'],
  ...['b/loop.png -> loop.png', 'b/notes -> nowhere', 'again -> a', 'root -> .', 'out -> ../elsewhere'],
  ...['out.png -> ../elsewhere/x.png', 'deep -> ../elsewhere/deep', 'stored.png -> store/blob', 'store/blob'],
]

test('cycles of links end, no file is found twice, links do not lead out of the folder, and each is reported', async t => {
  await folderOf('elsewhere', ['x.png', 'deep/y.png', 'deep/back -> ..', 'home -> ../links'])
  const root = await folderOf('links', linked)
  const { files, leftOut } = await walked(root)
  // A link to what has no name of an image is the image's name.
  t.deepEqual(files, ['a/1.png', 'stored.png'])
  t.deepEqual(leftOut, {
    ...{ 'a/up': 'counted', 'a/self': 'counted', again: 'counted', root: 'counted', 'b/one.png': 'counted' },
    ...{ 'b/gone.png': 'unreadable', 'b/loop.png': 'unreadable', 'b/notes': 'link' },
    ...{ out: 'link', 'out.png': 'link', deep: 'link', 'store/blob': 'name' },
  })
})

test('with followLinks, files outside are found once, by the first path that leads to them', async t => {
  await folderOf('outside', ['x.png', 'deep/y.png', 'deep/back -> ..', 'home -> ../links2'])
  const root = await folderOf('links2', [
    ...linked.map(entry => entry.replace('elsewhere', 'outside')),
    'more -> ../outside',
  ])
  const { files, leftOut } = await walked(root, { followLinks: true })
  // deep/back leads to all that lies outside; deep was met, and home is the root again.
  t.deepEqual(files, ['a/1.png', 'deep/y.png', 'out.png', 'stored.png'])
  t.is(leftOut['deep/back/home'], 'counted')
  t.is(leftOut['deep/back/x.png'], 'counted')
  t.is(leftOut.out, 'counted')
  t.is(leftOut.more, 'counted')
  // The root itself may be a link.
  await symlink(root, join(base, 'entrance'))
  const { files: entered } = await walked(join(base, 'entrance'), {})
  t.deepEqual(entered, ['a/1.png', 'stored.png'])
})

test('FIFOs are reported as left out, and folders named like images are treated as folders', async t => {
  const root = await folderOf('special', ['folder.png/a.png'])
  execFileSync('mkfifo', [join(root, 'fifo.png'), join(root, 'fifo')])
  await symlink('fifo', join(root, 'to-fifo.png'))
  const { files, leftOut } = await walked(root)
  t.deepEqual(files, ['folder.png/a.png'])
  t.deepEqual(leftOut, { 'fifo.png': 'special', fifo: 'name', 'to-fifo.png': 'special' })
})

test('a folder that vanishes during the walk is reported, and the walk continues', async t => {
  const root = await folderOf('vanishing', ['a/1.png', 'b/2.png', 'c/3.png'])
  const leftOut: LeftOut[] = []
  const files: string[] = []
  for await (const file of imageFiles(root, { onLeftOut: one => leftOut.push(one) })) {
    files.push(file)
    await rm(join(root, 'b'), { recursive: true, force: true })
  }
  t.deepEqual(files, [join(root, 'a/1.png'), join(root, 'c/3.png')])
  t.deepEqual(leftOut, [
    { path: join(root, 'b'), reason: 'unreadable', message: 'vanished while it was read' },
  ])
})

test('a folder without permission is reported, and as the root it is a typed error', async t => {
  const root = await folderOf('closed', ['a/1.png', 'b/2.png', 'c/3.png'])
  await chmod(base, 0o755)
  await chmod(join(root, 'b'), 0)
  // Root may read everything: the walk is that of nobody.
  const { stdout, stderr } = await child(`
    import { imageFiles } from ${JSON.stringify(lib('image/files'))}
    if (process.getuid() === 0) process.setuid(65534)
    const out = { files: [], leftOut: [] }
    for await (const file of imageFiles(${JSON.stringify(root)}, { onLeftOut: one => out.leftOut.push(one) }))
      out.files.push(file)
    const error = await imageFiles(${JSON.stringify(join(root, 'b'))}).next().catch(error => error)
    console.log(JSON.stringify({ ...out, code: error.code, message: error.message, file: error.file }))
  `)
  await chmod(join(root, 'b'), 0o755)
  t.is(stderr, '')
  t.deepEqual(JSON.parse(stdout), {
    files: [join(root, 'a/1.png'), join(root, 'c/3.png')],
    leftOut: [{ path: join(root, 'b'), reason: 'unreadable', message: 'may not be read (no permission)' }],
    code: 'ERR_CLIP_INPUT',
    message: `${join(root, 'b')}: may not be read (no permission)`,
    file: join(root, 'b'),
  })
})

test('an abort ends the walk with its reason, in a folder and between files', async t => {
  const root = await folderOf('aborted', ['a/1.png', 'a/2.png', 'b/3.png'])
  const control = new AbortController()
  const walk = imageFiles(root, { signal: control.signal })
  await walk.next()
  const reason = new Error('enough')
  control.abort(reason)
  t.is(await t.throwsAsync(walk.next()), reason)
  t.true((await walk.next()).done)
  t.is(await t.throwsAsync(imageFiles(root, { signal: control.signal }).next()), reason)
})

test('a walk starts from a path or a file: URL, and anything else is a typed error', async t => {
  const root = await folderOf('roots', ['a b#c%.png'])
  const first = async (folder: unknown) => (await imageFiles(folder as string).next()).value
  for (const given of [root, `${root}/`, pathToFileURL(root), pathToFileURL(root).href])
    t.is(await first(given), join(root, 'a b#c%.png'))
  for (const given of ['', 5, null, undefined, {}, 'a\0b', 'https://host/x', new URL('https://host/x')])
    t.like(await t.throwsAsync(first(given)), { code: 'ERR_CLIP_INPUT', name: 'TypeError' })
  for (const given of ['file://host/x', new URL('file://host/x'), 's3://bucket/x', 'data:image/png,x'])
    t.like(await t.throwsAsync(first(given)), { code: 'ERR_CLIP_INPUT', name: 'TypeError' })
  const none = await t.throwsAsync(first(join(root, 'none')), { instanceOf: ClipError })
  t.is(none.message, `${join(root, 'none')}: does not exist`)
  const file = await t.throwsAsync(first(join(root, 'a b#c%.png')), { instanceOf: ClipError })
  t.is(file.message, `${join(root, 'a b#c%.png')}: is not a folder`)
  for (const options of [{ follow: true }, { followLinks: 1 }, { onLeftOut: 'x' }, { signal: {} }])
    t.like(await t.throwsAsync(imageFiles(root, options as never).next()), { code: 'ERR_CLIP_INPUT' })
  t.deepEqual(await readdir(root), ['a b#c%.png'])
})

const onLinux = process.platform === 'linux' ? test : test.skip

onLinux(
  'names that are not UTF-8 are yielded as file: URLs of their bytes, which every method opens',
  async t => {
    const latin1 = (text: string) => Buffer.from(text, 'latin1')
    const root = Buffer.concat([latin1(`${base}/`), latin1('Stra\xdfe')])
    await mkdir(root)
    const dog = await readFile(exampleImages.find(path => path.endsWith('dog.png'))!)
    for (const name of ['gr\xfc\xdfe.png', 'gr\xe4te.png', 'a.png'])
      await writeFile(Buffer.concat([root, latin1(`/${name}`)]), dog)
    const url = `file://${base}/Stra%DFe`
    const files = await collect(imageFiles(url))
    t.deepEqual(files, [`${url}/a.png`, `${url}/gr%E4te.png`, `${url}/gr%FC%DFe.png`])
    const asUrl = await collect(imageFiles(new URL(url)))
    t.deepEqual(asUrl, files)
    // Found from a folder above, too.
    t.true((await collect(imageFiles(base))).includes(files[1]!))

    await using clip = await load()
    const embeddings = await clip.encodeImage([...files, new URL(files[0]!)])
    const expected = await clip.encodeImage(dog)
    for (const row of embeddings) t.deepEqual(row, expected.row(0))
    await using store = await clip.openStore(join(base, 'bytes.store'), { create: true })
    t.like(await store.add(files), { added: 3, skipped: 0 })
    t.like(await store.add(files), { added: 0, skipped: 3 })
    const [best] = await store.search({ image: files[2]! }, { topK: 1 })
    t.true(files.includes(best!.id))
    // A name that has lost its bytes on the way here: the error says so.
    const lost = await t.throwsAsync(clip.encodeImage(join(base, 'gr\ufffde.png')), { instanceOf: ClipError })
    t.regex(lost.message, /does not exist \(its name has U\+FFFD.*not UTF-8.*file: URL/)
    const half = await t.throwsAsync(clip.encodeImage(join(base, 'gr\ud800e.png')), { instanceOf: ClipError })
    t.regex(half.message, /half of a surrogate pair/)
  },
)

test('files are found whose names have newlines, quotes, backslashes or control characters', async t => {
  const names = ['a\nb.png', 'a"b.png', "a'b.png", '\u001b[31mred.png', 'a\u0007.png', 'a\u202eb.png']
  if (process.platform !== 'win32') names.push('a\\b.png')
  const { files } = await walked(await folderOf('odd', names))
  t.deepEqual(files, names.sort())
})
