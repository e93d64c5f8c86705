// Embeds a folder of images, copies it into a LanceDB table, and compares a search there with the exact search of the store.
//
//   npm install clip-native @lancedb/lancedb@0.33.0 apache-arrow@18.1.0
//   node examples/lancedb.mjs FOLDER "words"
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { imageFiles, load, toLanceDB } from 'clip-native'

const [images, words = 'a dog'] = process.argv.slice(2)
if (!images) throw new Error('node examples/lancedb.mjs FOLDER "words"')
const work = await mkdtemp(join(tmpdir(), 'clip-lancedb-'))

const clip = await load()
const store = await clip.openStore(join(work, 'store'), { create: true })
const { added, errors } = await store.add(imageFiles(images), { errors: 'collect' })
console.log(`${added} images embedded, ${errors.length} could not be read: ${work}`)

// For a table of millions, create an index: await table.createIndex('vector', { config: Index.ivfPq({ distanceType: 'cosine'
// }) })
const table = await toLanceDB(store, join(work, 'lance'), { table: 'images' })
const { data } = await clip.encodeText(words)
const found = await table.search(data).distanceType('cosine').limit(5).toArray()

console.log(`\n"${words}" in LanceDB (1 - distance), and in the store`)
const exact = await store.search(words, { topK: 5 })
for (const [i, row] of found.entries())
  console.log(`${(1 - row._distance).toFixed(4)}  ${row.id}\n${exact[i].score.toFixed(4)}  ${exact[i].id}`)
await store.close()
await clip.dispose()
