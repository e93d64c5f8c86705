import { basename } from 'node:path'
import test from 'ava'
import { type ImageInput, load, templates } from '../../lib/index.js'
import { exampleImages, expected, red } from './helpers.js'

const clip = await load()
test.after.always(() => clip.dispose())

test("the examples have PyTorch's probabilities", async t => {
  const classifier = await clip.classifier(expected.labels, { templates: expected.template })
  const all = await classifier.classify(exampleImages, { topK: expected.labels.length })
  t.is(all.length, 9)
  for (const [i, predictions] of all.entries()) {
    const name = basename(exampleImages[i]!)
    t.is(predictions[0]!.label, name.replace(/\.\w+$/, ''))
    t.is(predictions.length, expected.labels.length)
    for (const { label, score, index } of predictions) {
      t.is(label, expected.labels[index])
      t.true(Math.abs(score - expected.probabilities[name]![index]!) <= 1e-4, `${name} ${label} ${score}`)
    }
  }
})

test('classify returns a list for one image and a list of lists for several; topK and as work', async t => {
  const classifier = await clip.classifier(['dog', 'cat', 'key'] as const)
  const one = await classifier.classify(exampleImages[4]!, { topK: 2 })
  t.is(one.length, 2)
  t.is((await classifier.classify([exampleImages[4]!])).length, 1)
  t.deepEqual(await classifier.classify([]), [])
  const all = await classifier.classify(exampleImages[4]!, { topK: 99 })
  t.true(Math.abs(all.reduce((sum, p) => sum + p.score, 0) - 1) < 1e-5)
  // The probability is over all labels, whatever topK.
  t.deepEqual(all.slice(0, 2), one)
  const cosine = await classifier.classify(exampleImages[4]!, { as: 'cosine' })
  const logit = await classifier.classify(exampleImages[4]!, { as: 'logit' })
  t.true(cosine.every((c, i) => Math.abs(c.score * clip.info.logitScale - logit[i]!.score) < 1e-3))
})

test('an ensemble is the mean of the normalized embeddings, normalized', async t => {
  const forms = ['an icon of {}', 'a drawing of {}', (label: string) => `${label}!`]
  const labels = ['dog', ['cat', 'kitten']] as const
  const classifier = await clip.classifier(labels, { templates: forms })
  t.deepEqual(classifier.labels, ['dog', 'cat'])
  for (const [row, names] of [['dog'], ['cat', 'kitten']].entries()) {
    const texts = names.flatMap(name => [`an icon of ${name}`, `a drawing of ${name}`, `${name}!`])
    const embeddings = [...(await clip.encodeText(texts))]
    const mean = Array.from(
      { length: 192 },
      (_, j) => embeddings.reduce((sum, e) => sum + e[j]!, 0) / texts.length,
    )
    const norm = Math.hypot(...mean)
    t.true(classifier.embeddings.row(row).every((value, j) => Math.abs(value - mean[j]! / norm) < 1e-6))
  }
})

test('every class gets all its prompts when there are more prompts than a window holds', async t => {
  const labels = Array.from({ length: 60 }, (_, i) => expected.labels[i % 22]!)
  const progress: number[] = []
  const ensemble = await clip.classifier(labels, {
    templates: templates.imagenet80,
    onProgress: ({ done, total }) => progress.push(done, total),
  })
  t.deepEqual(progress, [2048, 4800, 4096, 4800, 4800, 4800])
  const few = await clip.classifier(labels.slice(0, 22), { templates: templates.imagenet80 })
  for (let i = 0; i < 60; i++) {
    const other = few.embeddings.row(i % 22)
    t.true(ensemble.embeddings.row(i).every((value, j) => Math.abs(value - other[j]!) < 1e-6))
  }
})

test('an abort while a classifier is created rejects with its reason, and the next one is complete', async t => {
  const labels = Array.from({ length: 100 }, (_, i) => `${expected.labels[i % 22]} ${i}`)
  const controller = new AbortController()
  const reason = new Error('enough')
  const seen: number[] = []
  const build = clip.classifier(labels, {
    templates: templates.imagenet80,
    signal: controller.signal,
    onProgress: ({ done }) => {
      seen.push(done)
      controller.abort(reason)
    },
  })
  t.is(await t.throwsAsync(build), reason)
  t.deepEqual(seen, [2048])
  t.is((await clip.classifier(labels.slice(0, 3))).labels.length, 3)
})

test('a label with $& or {} in it is text, not a pattern', async t => {
  const classifier = await clip.classifier(['$&', '{}'], { templates: 'an icon of {}' })
  const plain = await clip.encodeText(['an icon of $&', 'an icon of {}'])
  t.true(classifier.embeddings.data.every((value, i) => Math.abs(value - plain.data[i]!) < 1e-6))
})

test('similarity sums to one over the chosen dimension and accepts embeddings', async t => {
  const images = exampleImages.slice(0, 3)
  const texts = ['anchor', 'bicycle']
  const rows = await clip.similarity(images, texts)
  t.deepEqual([...rows.shape], [3, 2])
  for (const row of rows) t.true(Math.abs(row[0]! + row[1]! - 1) < 1e-6)
  const columns = await clip.similarity(images, texts, { over: 'images' })
  t.deepEqual([...columns.shape], [3, 2])
  for (let c = 0; c < 2; c++)
    t.true(Math.abs(columns.row(0)[c]! + columns.row(1)[c]! + columns.row(2)[c]! - 1) < 1e-6)
  t.true(columns.row(0)[0]! > columns.row(1)[0]!) // the anchor is the anchor
  const cosine = await clip.similarity(await clip.encodeImage(images), await clip.encodeText(texts), {
    as: 'cosine',
  })
  const [i, x] = [await clip.encodeImage(images[1]!), await clip.encodeText(texts[0]!)]
  const dot = i.data.reduce((sum, value, j) => sum + value * x.data[j]!, 0)
  t.true(Math.abs(cosine.row(1)[0]! - dot) < 1e-6)
})

test('a stream keeps the order, reports bad items individually and stops its source', async t => {
  const classifier = await clip.classifier(expected.labels)
  let pulled = 0
  let stopped = false
  async function* source(): AsyncGenerator<ImageInput> {
    try {
      for (;;) {
        pulled++
        yield pulled === 2
          ? '/no/such/file'
          : pulled === 3
            ? (42 as never)
            : pulled % 2
              ? red
              : exampleImages[0]!
      }
    } finally {
      stopped = true
    }
  }
  const items = []
  for await (const item of classifier.stream(source(), { topK: 1 })) {
    items.push(item)
    if (items.length === 6) break
  }
  t.deepEqual(
    items.map(item => [item.index, item.error?.code ?? item.predictions!.length]),
    [
      [0, 1],
      [1, 'ERR_CLIP_IMAGE'],
      [2, 'ERR_CLIP_INPUT'],
      [3, 1],
      [4, 1],
      [5, 1],
    ],
  )
  t.is(items[3]!.image, exampleImages[0]!)
  t.true(stopped)
  t.true(pulled <= 6 + 2 * clip.info.threads + 1, `${pulled} pulled`)
})

test('a stream yields finished items while its source is waiting, and an abort ends it even then', async t => {
  const classifier = await clip.classifier(['dog', 'cat'])
  const controller = new AbortController()
  async function* slow(): AsyncGenerator<ImageInput> {
    yield red
    await new Promise(() => {})
  }
  const stream = classifier.stream(slow(), { signal: controller.signal })
  t.is((await stream.next()).value!.index, 0)
  const next = stream.next()
  controller.abort(new Error('tired'))
  await t.throwsAsync(next, { message: 'tired' })
})
