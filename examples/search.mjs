// Searches a folder of images by words, by an image or by both, and lists near duplicates.
//
//   node examples/search.mjs [FOLDER] ["words"]
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { imageFiles, load } from 'clip-native'
import { exampleFolder } from './image-files.mjs'

const [folder = exampleFolder, words = 'an icon of a dog'] = process.argv.slice(2)
const work = await mkdtemp(join(tmpdir(), 'clip-search-'))

const clip = await load()
const store = await clip.openStore(join(work, 'store'), { create: true })

// If this is killed at any moment, the next run continues; images that are in the store are skipped.
const { added, errors } = await store.add(imageFiles(folder), { errors: 'collect' })
console.log(`${added} images, ${errors.length} could not be read`)
const { skipped } = await store.add(imageFiles(folder))
console.log(`again: ${skipped} skipped`)

const print = matches => {
  for (const { id, score } of matches) console.log(`  ${score.toFixed(4)}  ${id}`)
}
console.log(`"${words}"`)
const best = await store.search(words, { topK: 3 })
print(best)
console.log('like the first of these, but more like a rocket')
print(await store.search({ image: best[0].id, text: 'an icon of a rocket', weight: 0.7 }, { topK: 3 }))

for await (const { a, b, score } of store.nearDuplicates({ threshold: 0.95 }))
  console.log(`nearly the same (${score.toFixed(3)}): ${a}, ${b}`)

await store.export(join(work, 'vectors.npy'))
console.log(`numpy.load gives ${store.size} x ${store.embedDim}`)
await store.close()
await clip.dispose()
await rm(work, { recursive: true })
