/** Against open_clip's build_zero_shot_classifier; test/golden/classifier/make.py made the numbers and says with what. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/base/package.js'
import { ClassMeans } from '../../lib/classifier/prompts.js'
import { load, templates } from '../../lib/index.js'

const folder = join(packageRoot, 'test/golden/classifier')
const golden = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as {
  labels: string[]
  prompts: string[]
  dim: number
  classes: string
  promptEmbeddings: string
}
const floats = (base64: string) => {
  const bytes = Buffer.from(base64, 'base64')
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i))
}
const classes = floats(golden.classes)
const rows = floats(golden.promptEmbeddings)
const most = (a: Float32Array, b: Float32Array) =>
  a.length === b.length ? a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i]!)), 0) : Number.NaN

test('a label gives the same prompts as in open_clip', t => {
  t.deepEqual(
    templates.imagenet80.map(template => template.replace('{}', golden.labels[0]!)),
    golden.prompts,
  )
})

test('given the same prompt embeddings, classes differ by at most 1e-6', async t => {
  const count = golden.labels.length
  const means = new ClassMeans(count, golden.dim)
  await means.add(
    rows,
    Array.from({ length: rows.length / golden.dim }, (_, i) => Math.floor(i / golden.prompts.length)),
  )
  const difference = most((await means.finish()).data, classes)
  t.true(difference <= 1e-6, `${difference}`)
})

test('end to end, from labels to classes, the difference is at most 2e-5', async t => {
  await using clip = await load(join(folder, 'openclip-tiny'))
  const classifier = await clip.classifier(golden.labels, { templates: templates.imagenet80 })
  const difference = most(classifier.embeddings.data, classes)
  t.true(difference <= 2e-5, `${difference}`)
  t.log(`largest difference ${difference}`)
})
