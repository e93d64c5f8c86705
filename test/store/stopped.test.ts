/**
 * A writer that is stopped (SIGSTOP, a suspended laptop) loses its lock to another one, and later goes on in the middle
 * of whatever it did. Stopped here before each thing that it asks of the file system.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import { cp, rm, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Store } from '../../lib/index.js'
import { watchFiles } from '../helpers/file-operations.js'
import { nightly } from '../helpers/nightly.js'
import { patience } from '../helpers/patience.js'
import { items, writeImages } from './helpers.js'
import { contentOf, Ledger, smallestModel } from './written.js'

const { clip, folder, end } = await smallestModel()
test.after.always(end)
const ledger = new Ledger()
const base = join(folder, 'base')
let files: string[]
const part = join(folder, 'part')

test.before(async () => {
  files = await writeImages(join(folder, 'images'), 4)
  await using source = await clip.openStore(part, { create: true })
  await ledger.add(source, clip, items(30, 500))
  await using store = await clip.openStore(base, { create: true })
  await ledger.expect(clip, [...items(150), ...files])
  await store.add([...items(20), ...files])
  // Some rows were replaced, so that there is something to compact.
  for (const file of files) await utimes(file, 1e9, 1e9)
  await store.add(files)
})

type Work = (store: Store, told: (ids: string[]) => void) => Promise<unknown>
const ids = (inputs: { id: string }[]) => inputs.map(i => i.id)

const works: Record<string, Work> = {
  // Two batches, of which others may add the same.
  add: (store, told) =>
    store.add(items(70, 60), {
      onProgress: p => p.skipped === 0 && told(ids(items(70, 60)).slice(0, p.done)),
    }),
  'add a few': (store, told) => store.add(items(9, 100)).then(() => told(ids(items(9, 100)))),
  merge: async (store, told) => {
    // Opened by each: a store's calls take their turns.
    await using source = await clip.openStore(part)
    await store.merge(source)
    told(ids(items(30, 500)))
  },
  compact: store => store.compact(),
}

const context = new AsyncLocalStorage<'stopped'>()
let made = 0

/** Runs `first` up to its nth operation, `second` to its end, and `first` on. False when `first` has fewer operations. */
async function stopAt(t: ExecutionContext, n: number, first: string, second: string): Promise<boolean> {
  const where = `${first}, stopped before operation ${n}, while others ${second}`
  const path = join(folder, `store-${made++}`)
  await cp(base, path, { recursive: true })
  const told = new Set([...ids(items(20)), ...files])
  const tell = (more: string[]) => {
    for (const id of more) told.add(id)
  }
  await using a = await clip.openStore(path)
  await using b = await clip.openStore(path)
  let operations = 0
  let goOn = () => {}
  let stopped: () => void = () => {}
  const reached = new Promise<void>(resolve => {
    stopped = resolve
  })
  const stop = await watchFiles({
    folder: path,
    before: async () => {
      if (context.getStore() !== 'stopped' || operations++ !== n) return
      await new Promise<void>(resolve => {
        goOn = resolve
        stopped()
      })
    },
  })
  try {
    // Acknowledged is what it says when it goes on, too.
    const work = context.run('stopped', () => works[first]!(a, tell)).catch((error: unknown) => error)
    const ended = await Promise.race([reached.then(() => false), work.then(() => true)])
    if (!ended) {
      // As if nobody had touched it for 30 s.
      await rm(join(path, 'lock'), { force: true })
      await works[second]!(b, tell)
    }
    goOn()
    const result = await work
    if (result instanceof Error)
      t.regex(String((result as { code?: string }).code), /^ERR_CLIP_/, `${where}: ${result.stack}`)
    await using c = await clip.openStore(path)
    t.is(ledger.faultOf(await contentOf(c), told), undefined, where)
    await c.add(items(5, 140))
    t.is(
      ledger.faultOf(await contentOf(c), [...told, ...ids(items(5, 140))]),
      undefined,
      `${where}, added to`,
    )
    return !ended
  } catch (error) {
    t.fail(`${where}: ${(error as Error).stack}`)
    return false
  } finally {
    stop()
    await rm(path, { recursive: true, force: true })
  }
}

const pairs = Object.keys(works).flatMap(first => Object.keys(works).map(second => [first, second] as const))

test.serial(
  'a writer that is stopped at some points while another one writes loses and damages nothing',
  async t => {
    t.timeout(patience * 120_000)
    let n = 0
    for (const [i, [first, second]] of pairs.entries())
      for (n = i % 6; await stopAt(t, n, first, second); n += 6);
  },
)

nightly(
  'a writer that is stopped at any point while any other one writes loses and damages nothing',
  async t => {
    t.timeout(patience * 1_200_000)
    let points = 0
    for (const [first, second] of pairs) for (let n = 0; await stopAt(t, n, first, second); n++) points++
    t.log(`${points} points`)
  },
)
