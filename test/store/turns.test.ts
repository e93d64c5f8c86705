/** How long the event loop is held up by a store of many items: each turn is a slice, whatever is asked. */

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Generation } from '../../lib/store/generation.js'
import { writeHeader } from '../../lib/store/header.js'
import { Writer } from '../../lib/store/writer.js'
import { entriesTest as test } from '../helpers/entries-test.js'
import { normal } from '../helpers/random.js'
import { longestTurnOf } from '../helpers/turns.js'
import { items } from './helpers.js'
import { smallestModel } from './written.js'

const { clip, folder, end } = await smallestModel()
test.after.always(end)
const path = join(folder, 'large')
const count = 120_000
const idOf = (i: number) => `folder ${i >> 10}/image ${i}.jpg`
/** Milliseconds of the JavaScript thread's own time. */
const most = 2

test.before(async () => {
  await mkdir(path)
  const { fingerprint, embedDim } = clip.info
  const header = { fingerprint, embedDim, dtype: 'float32' as const, generation: '' }
  const check = async () => {}
  await writeHeader(path, header, check)
  const writer = await Writer.open(new Generation(path, header), undefined, check)
  const rows = 4000
  for (let first = 0; first < count; first += rows)
    await writer.append(
      Array.from({ length: rows }, (_, i) => ({ id: idOf(first + i) })),
      normal(first + 1, rows * embedDim),
    )
  await writer.close()
})

test.serial('opening, the first add with its list of ids, known ids', async t => {
  const image = items(1)[0]!.image
  const known = Array.from({ length: count }, (_, i) => ({ id: idOf(i), image }))
  const opening = await longestTurnOf(3, async () => {
    await using store = await clip.openStore(path)
    await store.add([])
  })
  t.true(opening < most, `opening and the first add: ${opening} ms`)
  await using store = await clip.openStore(path)
  let result: { skipped: number } | undefined
  const longest = await longestTurnOf(3, async () => {
    result = await store.add(known)
  })
  t.is(result!.skipped, count)
  t.true(longest < most, `known ids: ${longest} ms`)
  t.log(`longest turns: ${opening.toFixed(2)} ms opening, ${longest.toFixed(2)} ms with ${count} known ids`)
})

test.serial('a search for 20 000, all ids, and many near duplicates', async t => {
  await using store = await clip.openStore(path)
  let found = 0
  const longest = await longestTurnOf(3, async () => {
    found = (await store.search('a dog', { topK: 20_000 })).length
  })
  t.is(found, 20_000)
  t.true(longest < most, `search: ${longest} ms`)
  let seen = 0
  const reading = await longestTurnOf(3, async () => {
    for await (const _ of store.ids()) seen++
  })
  t.is(seen, 3 * count)
  let pairs = 0
  const comparing = await longestTurnOf(2, async () => {
    for await (const _ of store.nearDuplicates({ threshold: -1 })) if (++pairs % 100_000 === 0) break
  })
  t.is(pairs, 200_000)
  t.true(comparing < most, `near duplicates: ${comparing} ms`)
  t.log(
    `longest turns: ${longest.toFixed(2)} ms searching, ${reading.toFixed(2)} ms ids, ${comparing.toFixed(2)} ms near duplicates`,
  )
  t.true(reading < most, `ids: ${reading} ms`)
})
