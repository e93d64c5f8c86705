/** What else may lie in a store's folder, or happen to it: links, pipes, devices, places where nothing can be made. */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cp,
  link,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { ClipError } from '../../lib/index.js'
import { nightly } from '../helpers/nightly.js'
import { items } from './helpers.js'
import { contentOf, Ledger, smallestModel } from './written.js'

const { clip, folder, end } = await smallestModel()
test.after.always(end)
const good = join(folder, 'good')
test.before(async () => {
  await using store = await clip.openStore(good, { create: true })
  await store.add(items(5))
})

let made = 0
async function copy(): Promise<string> {
  const path = join(folder, `store-${made++}`)
  await cp(good, path, { recursive: true })
  return path
}

const posix = process.platform === 'win32' ? test.skip : test
const linux = process.platform === 'linux' ? test : test.skip

for (const name of ['vectors.bin', 'items.log', 'store.json', 'lock', 'lock.takeover'])
  for (const kind of ['file', 'nothing', 'folder'] as const)
    posix(
      `${name} as a symbolic link to a ${kind}: an error that names it, and nothing is written through`,
      async t => {
        const path = await copy()
        const file = join(path, name)
        const target = join(folder, `target-${made++}`)
        const was = await readFile(file).catch(() => Buffer.from('of somebody else'))
        if (kind === 'file') await writeFile(target, was)
        if (kind === 'folder') await mkdir(target)
        await rm(file, { force: true })
        await symlink(target, file)
        // A takeover is looked at when there is a lock to take over.
        if (name === 'lock.takeover') await writeFile(join(path, 'lock'), '')
        const error = await t.throwsAsync(
          (async () => {
            await using store = await clip.openStore(path, { create: true })
            await store.add(items(8))
          })(),
          { instanceOf: ClipError },
        )
        t.is(error!.file, file)
        t.true(error!.message.includes('is a symbolic link'), error!.message)
        t.is(await readlink(file), target)
        if (kind === 'file') t.deepEqual(await readFile(target), was)
        else if (kind === 'nothing') await t.throwsAsync(stat(target), { code: 'ENOENT' })
        else t.deepEqual(await readdir(target), [])
      },
    )

posix('links in a folder where a store is to be made are not followed', async t => {
  for (const name of ['vectors.bin', 'items.log', 'store.json', 'lock']) {
    const path = join(folder, `new-${made++}`)
    await mkdir(path)
    const target = join(folder, `target-${made++}`)
    await symlink(target, join(path, name))
    const error = await t.throwsAsync(clip.openStore(path, { create: true }), { instanceOf: ClipError })
    t.is(error!.file, join(path, name))
    await t.throwsAsync(stat(target), { code: 'ENOENT' })
  }
})

posix('a file with another name (a hard link) is read and not written', async t => {
  for (const name of ['vectors.bin', 'items.log']) {
    const path = await copy()
    const other = join(folder, `other-${made++}`)
    await link(join(path, name), other)
    const before = await readFile(other)
    await using store = await clip.openStore(path)
    t.is(store.size, 5)
    const error = await t.throwsAsync(store.add(items(8)), { instanceOf: ClipError })
    t.is(error!.file, join(path, name))
    t.regex(error!.message, /2 names \(hard links\)/)
    t.deepEqual(await readFile(other), before)
  }
})

for (const name of ['vectors.bin', 'items.log', 'store.json', 'lock'])
  posix(`${name} as a FIFO: an error at once`, async t => {
    const path = await copy()
    await rm(join(path, name), { force: true })
    execFileSync('mkfifo', [join(path, name)])
    const error = await t.throwsAsync(
      (async () => {
        await using store = await clip.openStore(path)
        await store.add(items(8))
      })(),
      { instanceOf: ClipError },
    )
    t.is(error!.file, join(path, name))
    t.regex(error!.message, /is a FIFO/)
  })

linux('places where no store can be created are an error', async t => {
  const file = join(folder, 'a file')
  await writeFile(file, '')
  const control = new AbortController()
  const places = [
    '/proc/nope',
    '/proc/nope/deep/er',
    '/proc/self/nope',
    '/sys/nope',
    join(file, 'store'),
    file,
    '/dev/null',
  ]
  for (const place of places) {
    const opening = clip.openStore(place, { create: true, signal: control.signal })
    const error = await t.throwsAsync(opening, { instanceOf: ClipError }, place)
    t.true(['ERR_CLIP_INPUT', 'ERR_CLIP_CHECKPOINT'].includes(error!.code), `${place}: ${error!.code}`)
    t.true(error!.message.startsWith(place), error!.message)
  }
  await t.throwsAsync(clip.openStore('/proc/self'), { code: 'ERR_CLIP_INPUT', message: /is not a store/ })
})

test('a store that is removed or replaced while it is open accepts no more items', async t => {
  const remove = (name: string) => (path: string) => rm(join(path, name))
  const replace = (name: string) => async (path: string) => {
    await cp(join(path, name), join(path, 'kept'))
    await rm(join(path, name))
    await rename(join(path, 'kept'), join(path, name))
  }
  const cases: [string, (path: string) => Promise<unknown>][] = [
    ['store.json', remove('store.json')],
    ['vectors.bin', remove('vectors.bin')],
    ['items.log', remove('items.log')],
    ['items.log', replace('items.log')],
    ['store.json', path => rename(path, `${path}-moved`)],
    [
      'store.json',
      async path => {
        const header = JSON.parse(await readFile(join(path, 'store.json'), 'utf8'))
        await writeFile(join(path, 'store.json'), JSON.stringify({ ...header, fingerprint: 'f'.repeat(32) }))
      },
    ],
    ['store.json', path => writeFile(join(path, 'store.json'), 'not JSON')],
  ]
  for (const [file, change] of cases)
    for (const when of ['between calls', 'between batches'] as const) {
      const path = await copy()
      await using store = await clip.openStore(path)
      await store.add(items(6))
      let changed = when === 'between calls'
      if (changed) {
        await change(path)
        // Not even what is there may be said to be there.
        if (file === 'store.json') {
          await t.throwsAsync(store.add(items(3)), { instanceOf: ClipError }, `${file}, known`)
          await t.throwsAsync(store.compact(), { instanceOf: ClipError }, `${file}, compaction`)
        }
      }
      const inputs = async function* () {
        for (const item of items(80, 100)) {
          yield item
          // Behind the first batch of 64, with the lock held.
          if (!changed && item.id === 'image 170') {
            changed = true
            await change(path)
          }
        }
      }
      const error = await t.throwsAsync(store.add(inputs()), { instanceOf: ClipError }, `${file}, ${when}`)
      t.regex(error!.code, /^ERR_CLIP_(CHECKPOINT|INPUT)$/)
      t.true(error!.message.includes(path), error!.message)
    }
})

test('a long tail of uncommitted rows is skipped or compacted away', async t => {
  const path = await copy()
  const ledger = new Ledger()
  await ledger.expect(clip, items(20))
  const { size } = await stat(join(path, 'vectors.bin'))
  await truncate(join(path, 'vectors.bin'), size * 20 + 3)
  await using store = await clip.openStore(path)
  await store.add(items(10))
  t.is(store.size, 10)
  t.is(
    ledger.faultOf(
      await contentOf(store),
      items(10).map(i => i.id),
    ),
    undefined,
  )
  await truncate(join(path, 'vectors.bin'), size * 30_000)
  const error = await t.throwsAsync(store.add(items(20)), {
    code: 'ERR_CLIP_INPUT',
    message: /compact the store/,
  })
  t.is((error as ClipError).file, join(path, 'vectors.bin'))
  t.true((await store.compact()).bytes > size * 29_000)
  await store.add(items(20))
  t.is(
    ledger.faultOf(
      await contentOf(store),
      items(20).map(i => i.id),
    ),
    undefined,
  )
  t.is(await store.search('x', { topK: 100 }).then(found => found.length), 20)
})

test('an add counts as one call, however many images it has, and is never refused half-way', async t => {
  const busy = await (await import('../../lib/index.js')).load(join(folder, 'model'), {
    threads: 1,
    maxQueue: 1,
  })
  const path = join(folder, `busy-${made++}`)
  await using store = await busy.openStore(path, { create: true })
  const adding = store.add(items(200))
  // Two more calls come whenever there is room: after the first batch as well.
  let done = false
  const others = [1, 2].map(async () => {
    while (!done) {
      await busy.encodeText('a dog').catch(error => t.is(error.code, 'ERR_CLIP_BUSY'))
      await new Promise(setImmediate)
    }
  })
  await adding.finally(() => {
    done = true
  })
  await Promise.all(others)
  t.is(store.size, 200)
  await busy.dispose()
})

test('an add waits no longer for its inputs than its signal says', async t => {
  await using store = await clip.openStore(await copy())
  const control = new AbortController()
  const reason = new Error('enough')
  const never = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        control.abort(reason)
        return new Promise<never>(() => {})
      },
    }),
  }
  t.is(await t.throwsAsync(store.add(never, { signal: control.signal })), reason)
  await store.add(items(7))
  t.is(store.size, 7)
})

const library = pathToFileURL(join(packageRoot, 'dist/lib/index.js')).href
const child = (path: string, code: string) =>
  spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { load } from ${JSON.stringify(library)}
       const noise = i => ({ data: Uint8Array.from({ length: 192 }, (_, j) => (i * 7919 + j * 104729) >>> 3), width: 8, height: 8, channels: 3 })
       const clip = await load(${JSON.stringify(join(folder, 'model'))}, { threads: 1 })
       const store = await clip.openStore(${JSON.stringify(path)}, { create: true })
       ${code}`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )

test('a process that exits while it adds leaves no lock that others wait for', async t => {
  const path = await copy()
  for (const at of ['', 'setImmediate(() => process.exit(0));', 'setTimeout(() => process.exit(0), 3);']) {
    const process_ = child(
      path,
      `const done = store.add({ id: 'x${at.length}', image: noise(1) });
      ${at || 'process.exit(0)'}
      await done; await new Promise(() => setInterval(() => {}, 1000))`,
    )
    await once(process_, 'exit')
    const started = process.hrtime.bigint()
    await using store = await clip.openStore(path)
    const control = new AbortController()
    // Far less than the 30 s after which an untouched lock is taken over.
    const timer = setTimeout(() => control.abort(new Error('waited for the lock of a dead process')), 15_000)
    await store.add(items(9), { signal: control.signal })
    clearTimeout(timer)
    t.true(process.hrtime.bigint() > started)
  }
})

posix('a process that is stopped while it adds, and goes on when another has its lock', async t => {
  const path = join(folder, `stopped-${made++}`)
  const ids = new Set<string>()
  let text = ''
  const process_ = child(
    path,
    `for (let i = 0; i < 400; i++) {
       try {
         await store.add(Array.from({ length: 5 }, (_, j) => ({ id: 'child ' + i + ' ' + j, image: noise(5 * i + j) })))
         console.log(i)
       } catch (error) {
         if (!error.code?.startsWith('ERR_CLIP')) throw error
         console.log('refused')
       }
     }`,
  )
  process_.stdout.setEncoding('utf8').on('data', piece => {
    text += piece
  })
  const ended = once(process_, 'exit')
  await Promise.race([once(process_.stdout, 'data'), ended])
  await using store = await clip.openStore(path)
  for (let i = 0; i < 12 && process_.exitCode === null; i++) {
    process_.kill('SIGSTOP')
    // As after 30 s without a touch.
    await rm(join(path, 'lock'), { force: true })
    const more = items(3, 1000 + 3 * i)
    await store.add(more)
    if (i % 4 === 3) await store.compact()
    for (const { id } of more) ids.add(id)
    process_.kill('SIGCONT')
    await new Promise(resolve => setTimeout(resolve, 20 + 10 * (i % 3)))
  }
  t.deepEqual(await ended, [0, null])
  for (const line of text.trim().split('\n'))
    if (line !== 'refused') for (let j = 0; j < 5; j++) ids.add(`child ${line} ${j}`)
  await using again = await clip.openStore(path)
  const content = await contentOf(again)
  for (const id of ids) t.true(content.has(id), id)
  t.log(`${ids.size} acknowledged, ${content.size} there, ${text.split('refused').length - 1} refused`)
})

nightly('a process that is stopped for 30 s loses its lock, and its place in the log', async t => {
  if (process.platform === 'win32') return t.pass()
  t.timeout(120_000)
  const path = join(folder, `slept-${made++}`)
  // One long call, in whose middle the process sleeps.
  const process_ = child(
    path,
    `const inputs = async function* () {
       for (let i = 0; i < 2000; i++) yield { id: 'child ' + i, image: noise(i) }
     }
     await store.add(inputs(), { onProgress: p => console.log(p.done) }).then(
       () => console.log('all'),
       error => console.log(error.code))`,
  )
  let text = ''
  process_.stdout.setEncoding('utf8').on('data', piece => {
    text += piece
  })
  const ended = once(process_, 'exit')
  await once(process_.stdout, 'data')
  process_.kill('SIGSTOP')
  const warnings: string[] = []
  const warn = (warning: Error) => warnings.push(warning.message)
  process.on('warning', warn)
  const ledger = new Ledger()
  const mine = items(70, 3000)
  {
    await using store = await clip.openStore(path)
    await ledger.add(store, clip, mine)
  }
  process.off('warning', warn)
  t.regex(warnings.join(), new RegExp(`is held by process ${process_.pid}: waiting`))
  process_.kill('SIGCONT')
  t.deepEqual(await ended, [0, null])
  const lines = text.trim().split('\n')
  t.is(lines.at(-1), 'ERR_CLIP_INPUT')
  await using again = await clip.openStore(path)
  const content = await contentOf(again)
  const told = Number(lines.at(-2))
  for (let i = 0; i < told; i++) t.true(content.has(`child ${i}`))
  for (const { id } of mine) t.is(content.get(id), ledger.vectors.get(id))
  t.log(`${told} and ${mine.length} acknowledged, ${content.size} there`)
})
