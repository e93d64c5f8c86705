// Trains classifiers on examples, measures them on held-out images, and saves one of them.
//
//   node examples/few-shot.mjs [DATASET]      a folder with a folder per class, a CSV or a WebDataset tar
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { load, openDataset } from 'clip-native'
import { exampleDataset } from './image-files.mjs'

const dataset = await openDataset(process.argv[2] ?? exampleDataset)
const clip = await load()

// Eight images of each class are the examples, and the next eight are the test.
const train = { images: [], labels: [] }
const held = { images: [], labels: [] }
const seen = new Map()
for await (const { image, label } of dataset.samples()) {
  const n = seen.get(label) ?? 0
  seen.set(label, n + 1)
  const part = n < 8 ? train : n < 16 ? held : undefined
  part?.images.push(image)
  part?.labels.push(label)
}
const right = async classifier => {
  const answers = await classifier.classify(held.images, { topK: 1 })
  const count = answers.filter(([best], i) => best.label === held.labels[i]).length
  return `${count} of ${answers.length} right`
}

const names = await clip.classifier([...seen.keys()], { templates: 'a photo of {}' })
console.log(`class names only: ${await right(names)}`)
const tip = await clip.tipAdapter(train, { templates: 'a photo of {}' })
console.log(`Tip-Adapter: ${await right(tip)}`)
const probe = await clip.linearProbe(train)
console.log(`linear probe: ${await right(probe)}`)

const file = join(tmpdir(), `probe-${process.pid}.safetensors`)
await probe.save(file)
console.log(`saved to ${file}: ${await right(await clip.loadClassifier(file))}`)
await clip.dispose()
