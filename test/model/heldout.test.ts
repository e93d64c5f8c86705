/**
 * Zero-shot on the held-out images: the model card's figures, and PyTorch's answer to every single image.
 *
 * The images have palettes. Pillow resizes such an image NEAREST, and so do OpenAI's `preprocess` and ours; the
 * card's figures are of images converted to RGB before they were resized. Both are tested: files as they are against
 * PyTorch in OpenAI's order, and their RGB pixels against PyTorch and the card.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import sharp from 'sharp'
import { packageRoot } from '../../lib/base/package.js'
import { type ImageInput, load } from '../../lib/index.js'
import { sample } from '../helpers/patience.js'
import { testData } from '../helpers/test-data.js'
import { goldenFolder } from './golden.js'

interface Answers {
  right: number
  /** Images whose two best logits are closer than `close` in PyTorch: they may fall either way. */
  close: string[]
  answers: number[]
}
type Order = 'openai' | 'rgbFirst'
type Column = { templates: string[] } & Record<Order, Answers>
interface Heldout {
  close: number
  sets: Record<string, { labels: string[]; images: number; columns: Record<string, Column> }>
}

const golden: Heldout = JSON.parse(readFileSync(join(goldenFolder, 'heldout.json'), 'utf8'))
const listed = readFileSync(join(testData, 'heldout.csv'), 'utf8')
  .trim()
  .split('\n')
  .slice(1)
  .map(line => {
    const [file, label, set] = line.split(',')
    return { file: file!, label: label!, set: set! }
  })

/** The card's row of a set: top-1 in percent for the bare name, the prompt and the ensemble. */
function card(set: string): Record<string, number> {
  const readme = readFileSync(join(packageRoot, 'models', 'icon-clip', 'README.md'), 'utf8')
  const row = readme.split('\n').find(line => line.startsWith(`| heldout/${set} |`))!
  const cells = row.split('|').map(cell => Number.parseFloat(cell))
  return { bare: cells[4]!, prompt: cells[5]!, ensemble: cells[6]! }
}

async function rgb(file: string): Promise<ImageInput> {
  const { data: pixels, info } = await sharp(file).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  return { data: pixels, width: info.width, height: info.height, channels: info.channels as 3 }
}

for (const [set, { labels, images: count, columns }] of Object.entries(golden.sets))
  test(`zero-shot accuracy on heldout/${set} equals the model card, and answers equal PyTorch's`, async t => {
    const whole = listed.filter(image => image.set === set)
    t.is(whole.length, count)
    const places = sample(whole.map((_, i) => i))
    const members = places.map(i => whole[i]!)
    await using clip = await load()
    const files = members.map(image => join(testData, image.file))
    const inputs: Record<Order, ImageInput[]> = {
      openai: files,
      rgbFirst: await Promise.all(files.map(rgb)),
    }
    for (const order of ['openai', 'rgbFirst'] as const) {
      const images = await clip.encodeImage(inputs[order])
      for (const [name, column] of Object.entries(columns)) {
        const { embeddings } = await clip.classifier(labels, { templates: column.templates })
        const scores = await clip.similarity(images, embeddings, { as: 'logit' })
        const answers = Array.from(scores, row => row.indexOf(Math.max(...row)))
        const expected = column[order]
        let right = 0
        for (const [i, { file, label }] of members.entries()) {
          const wanted = expected.answers[places[i]!]!
          // Close ones count as PyTorch answered them, so that the totals can be compared.
          const answer = expected.close.includes(file) ? wanted : answers[i]!
          t.is(answer, wanted, `${file}, ${name}, ${order}`)
          if (labels[answer] === label) right++
        }
        if (members.length < count) continue // the totals are of all
        t.is(right, expected.right, `${name}, ${order}`)
        if (order === 'rgbFirst') {
          const percent = (100 * right) / count
          t.true(
            Math.abs(percent - card(set)[name]!) <= 0.0501,
            `${name}: ${percent} %, card ${card(set)[name]} %`,
          )
        }
        t.log(
          `${name}, ${order}: ${right} of ${count} right${expected.close.length ? `; too close to call: ${expected.close.join(', ')}` : ''}`,
        )
      }
    }
  })
