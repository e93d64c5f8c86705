/**
 * Crashes at every point: what the library asked of the disk while a store was made, added to, compacted, merged and
 * written by two is replayed up to each operation, with what was not synced kept, lost, or kept in part. The store that
 * is found then holds every acknowledged item with its vector and nothing that was not added, and can be added to.
 */

import { spawnSync } from 'node:child_process'
import { mkdir, rm, utimes, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { ClipError } from '../../lib/index.js'
import { afterCrash, type Choices, type Operation, watchFiles } from '../helpers/file-operations.js'
import { nightly } from '../helpers/nightly.js'
import { patience } from '../helpers/patience.js'
import { generator } from '../helpers/random.js'
import { items, writeImages } from './helpers.js'
import { contentOf, Ledger, smallestModel } from './written.js'

const { clip, folder, end } = await smallestModel()
test.after.always(end)
const ledger = new Ledger()

/** Marks in the record: from here on, the store is there and holds these. */
interface Mark {
  at: number
  told: string[]
}

async function record(): Promise<{ root: string; operations: Operation[]; marks: Mark[] }> {
  const root = join(folder, 'recorded')
  await mkdir(root)
  const files = await writeImages(join(folder, 'images'), 6)
  await using part = await clip.openStore(join(folder, 'part'), { create: true })
  await ledger.add(part, clip, items(70, 500))
  ledger.told.clear()
  const operations: Operation[] = []
  const marks: Mark[] = []
  const stop = await watchFiles({ folder: root, record: o => operations.push(o) })
  try {
    const mark = () => marks.push({ at: operations.length, told: [...ledger.told] })
    await using store = await clip.openStore(join(root, 'deep', 'store'), { create: true })
    mark()
    await ledger.add(store, clip, items(130), mark)
    await ledger.add(store, clip, files, mark)
    await using second = await clip.openStore(store.folder)
    await ledger.add(second, clip, items(20, 200), mark)
    for (const file of files.slice(0, 3)) await utimes(file, 1e9, 1e9)
    await ledger.add(store, clip, files, mark)
    await second.merge(part)
    for (const { id } of items(70, 500)) ledger.told.add(id)
    mark()
    await store.compact()
    mark()
    await ledger.add(second, clip, items(10, 300), mark)
    await utimes(files[5]!, 1e9, 1e9)
    await ledger.add(second, clip, files, mark)
    await second.compact()
    mark()
  } finally {
    stop()
  }
  return { root, operations, marks }
}

let trace: Awaited<ReturnType<typeof record>>
test.before(async () => {
  trace = await record()
})

/** A process that is gone, as all are after a crash. */
const gone = spawnSync(process.execPath, ['-e', '']).pid
let made = 0

async function materialise(found: Map<string, Buffer | undefined>): Promise<string> {
  const place = join(folder, `crash-${made++}`)
  await mkdir(place)
  for (const [path, content] of found) {
    const to = path.replace(trace.root, place)
    if (content === undefined) {
      await mkdir(to).catch(() => {}) // a folder whose parent was lost
      continue
    }
    if (!found.has(dirname(path))) continue
    const owner = content.toString().replace(`"pid":${process.pid}`, `"pid":${gone}`)
    // A torn lock is waited for; lock.test.ts has those.
    if (basename(path).startsWith('lock') && !owner.includes(`"pid":${gone},`)) continue
    await writeFile(to, basename(path).startsWith('lock') ? owner : content)
  }
  return place
}

/** What is wrong with the store that is found after a crash, if anything. */
async function faultAfter(
  count: number,
  choices: Choices,
  operations = trace.operations,
): Promise<string | undefined> {
  const told = trace.marks.filter(m => m.at <= count).at(-1)?.told
  const place = await materialise(afterCrash(operations, count, choices))
  const path = join(place, 'deep', 'store')
  try {
    if (!told) {
      // Nobody was told of a store: it is one or none, and can be made.
      const made = await clip.openStore(path).catch(async (error: ClipError) => {
        if (error.code !== 'ERR_CLIP_INPUT') throw error
        return clip.openStore(path, { create: true })
      })
      await made.close()
    }
    await using store = await clip.openStore(path)
    const fault = ledger.faultOf(await contentOf(store), told ?? [])
    if (fault) return fault
    const more = items(3, 900 + (count % 7))
    const ids = await ledger.expect(clip, more)
    await store.add(more)
    if (count % 5 === 0) await store.compact()
    await using again = await clip.openStore(path)
    const later = ledger.faultOf(await contentOf(again), [...(told ?? []), ...ids])
    return later && `${later}, when the store was added to`
  } catch (error) {
    return String((error as Error).stack)
  } finally {
    await rm(place, { recursive: true })
  }
}

async function check(t: ExecutionContext, count: number, choices: Choices, name: string) {
  t.is(
    await faultAfter(count, choices),
    undefined,
    `${name}, after ${count} of ${trace.operations.length} operations`,
  )
}

const always = (yes: boolean): Choices => ({ name: () => yes, piece: () => yes, length: () => yes })

/** Some disks lose much, some little; names and contents independently. */
function sometimes(seed: number): Choices {
  const random = generator(seed)
  const [names, pieces, lengths] = [random(), random(), random()].map(
    x => [0, 0.2, 0.5, 0.8, 1][Math.floor(x * 5)]!,
  )
  return {
    name: () => random() < names!,
    piece: () => random() < pieces!,
    length: () => random() < lengths!,
  }
}

test('a crash at a fifth of all points leaves every acknowledged item and nothing else', async t => {
  t.timeout(patience * 120_000)
  t.true(trace.operations.length > 120, `${trace.operations.length} operations`)
  const kinds = new Set(trace.operations.map(o => o.kind))
  for (const kind of ['create', 'link', 'folder', 'unlink', 'rename', 'write', 'sync', 'syncFolder'] as const)
    t.true(kinds.has(kind), kind)
  for (let count = 0; count <= trace.operations.length; count += 5) {
    await check(t, count, always(false), 'what was not synced is lost')
    await check(t, count + 2, sometimes(count), 'what was not synced is there in part')
  }
  await check(t, trace.operations.length, always(true), 'everything is kept')
})

test('without its syncs the store loses acknowledged items in these simulated crashes', async t => {
  for (const kind of ['sync', 'syncFolder'] as const) {
    const operations = trace.operations.map(
      (o): Operation => (o.kind === kind ? { kind: 'unlink', path: '' } : o),
    )
    const counts = [0.4, 0.6, 1].map(part => Math.floor(part * operations.length))
    for (const count of counts) t.not(await faultAfter(count, always(false), operations), undefined, kind)
  }
})

nightly('a crash at any point, with twenty outcomes each, loses no acknowledged item', async t => {
  t.timeout(patience * 3_000_000)
  let states = 0
  for (let count = 0; count <= trace.operations.length; count++) {
    await check(t, count, always(false), 'what was not synced is lost')
    await check(t, count, always(true), 'everything is kept')
    for (let seed = 0; seed < 18; seed++)
      await check(t, count, sometimes(1000 * count + seed), `in part, seed ${seed}`)
    states += 20
  }
  t.log(`${states} states after ${trace.operations.length} operations`)
})
