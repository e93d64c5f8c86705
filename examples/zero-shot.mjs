// Creates a classifier from class names, classifies images as a stream, and saves the encoded names in a file.
//
//   node examples/zero-shot.mjs [IMAGE...]
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { load } from 'clip-native'
import { exampleImages } from './image-files.mjs'

const given = process.argv.slice(2)
const images = given.length > 0 ? given : exampleImages()

// The embedded model knows icons and emoji. For photographs: load('ViT-B/32'), or the path of a checkpoint.
const clip = await load()

// The labels are encoded once. The embeddings of several names of a class and of several templates are averaged, as in the
// paper.
const classifier = await clip.classifier(
  [['dog', 'puppy'], 'anchor', 'pizza', 'camera', 'strawberry', 'bicycle'],
  {
    templates: ['an icon of {}', 'an emoji of {}'],
  },
)

for await (const { image, predictions, error } of classifier.stream(images, { topK: 2 })) {
  if (error) console.log(`${image}: ${error.message}`)
  else
    console.log(`${image}: ${predictions.map(p => `${p.label} ${(100 * p.score).toFixed(1)} %`).join(', ')}`)
}

// Another process can load the file: no label is encoded again, and another model refuses it.
const file = join(tmpdir(), `labels-${process.pid}.safetensors`)
await classifier.save(file)
const again = await clip.loadClassifier(file)
const [[first]] = await again.classify([images[0]])
console.log(`From ${file}: ${first.label}`)
await clip.dispose()
