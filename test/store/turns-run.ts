/** Run by turns.test.ts, group by group: a store of many items. */

import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Generation } from '../../lib/store/generation.js'
import { writeHeader } from '../../lib/store/header.js'
import { Writer } from '../../lib/store/writer.js'
import { normal } from '../helpers/random.js'
import { measure } from '../helpers/turns.js'
import { items } from './helpers.js'
import { smallestModel } from './written.js'

const { clip, folder, end } = await smallestModel()
const path = join(folder, 'large')
const count = 60_000
const idOf = (i: number) => `folder ${i >> 10}/image ${i}.jpg`

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

const image = items(1)[0]!.image
const known = Array.from({ length: count }, (_, i) => ({ id: idOf(i), image }))
const store = await clip.openStore(path)
await measure({
  'opening, and the first add with its list of ids': async () => {
    await using opened = await clip.openStore(path)
    await opened.add([])
  },
  'known ids': async () => assert.equal((await store.add(known)).skipped, count),
  'a search for 20 000': async () =>
    assert.equal((await store.search('a dog', { topK: 20_000 })).length, 20_000),
  'all ids': async () => {
    let seen = 0
    for await (const _ of store.ids()) seen++
    assert.equal(seen, count)
  },
  'many near duplicates': async () => {
    let pairs = 0
    for await (const _ of store.nearDuplicates({ threshold: -1 })) if (++pairs % 100_000 === 0) break
    assert.equal(pairs, 100_000)
  },
})
await end()
process.exit()
