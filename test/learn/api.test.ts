import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type ClipError, Embeddings, load } from '../../lib/index.js'
import { searchC } from '../../lib/learn/linear-probe.js'
import { testData } from '../helpers/test-data.js'

const clip = await load()
const folder = await mkdtemp(join(tmpdir(), 'clip-learn-'))
interface Image {
  file: string
  label: string
}
async function listed(csv: string): Promise<Image[]> {
  const lines = (await readFile(join(testData, csv), 'utf8')).trim().split(/\r?\n/).slice(1)
  return lines.map(line => {
    const [file, label] = line.split(',')
    return { file: join(testData, file!), label: label! }
  })
}
const digits = await listed('digits.csv')
/** The n images of each label from the k-th on. */
const some = (from: number, n: number) => {
  const seen = new Map<string, number>()
  const chosen = digits.filter(({ label }) => {
    const k = seen.get(label) ?? 0
    seen.set(label, k + 1)
    return k >= from && k < from + n
  })
  return { images: chosen.map(p => p.file), labels: chosen.map(p => p.label) }
}
const [train, validation, held] = [some(0, 8), some(8, 4), some(20, 10)]

test.after.always(async () => {
  await clip.dispose()
  await rm(folder, { recursive: true })
})

const accuracy = (predictions: { label: string }[][], labels: string[]) =>
  predictions.filter((p, i) => p[0]!.label === labels[i]).length / labels.length

const thrown = async (call: Promise<unknown>): Promise<ClipError> => {
  try {
    await call
  } catch (error) {
    return error as ClipError
  }
  throw new Error('nothing was thrown')
}

test('a linear probe learns digits that zero-shot classification does not recognise', async t => {
  const zeroShot = await clip.classifier([...new Set(train.labels)], { templates: 'a photo of {}' })
  const probe = await clip.linearProbe(train, { C: 1 })
  t.is(probe.kind, 'linear-probe')
  t.deepEqual([...probe.labels], [...new Set(train.labels)])
  t.deepEqual([...probe.embeddings.shape], [10, 192])
  t.is(probe.settings.converged, 1)
  const before = accuracy(await zeroShot.classify(held.images), held.labels)
  const after = accuracy(await probe.classify(held.images), held.labels)
  t.true(after >= 0.5 && after >= before + 0.3, `${before} before, ${after} after`)
  // Probabilities are a softmax over all labels; logits order them; there are no cosines.
  const [one] = await probe.classify([held.images[0]!], { topK: 10 })
  t.true(Math.abs(one!.reduce((sum, p) => sum + p.score, 0) - 1) < 1e-5)
  const [logits] = await probe.classify([held.images[0]!], { topK: 10, as: 'logit' })
  t.deepEqual(
    one!.map(p => p.label),
    logits!.map(p => p.label),
  )
  await t.throwsAsync(probe.classify(held.images[0]!, { as: 'cosine' }), {
    instanceOf: TypeError,
    message: /`as` to be 'probability' or 'logit' for a linear-probe/,
  })
})

test('existing features give the same probe, and a saved probe can be loaded', async t => {
  const features = await clip.encodeImage(train.images, { output: 'pooled' })
  const [a, b] = [
    await clip.linearProbe(train, { C: 0.1 }),
    await clip.linearProbe({ images: features, labels: train.labels }, { C: 0.1 }),
  ]
  t.deepEqual(a.embeddings.data, b.embeddings.data)
  const file = join(folder, 'probe.safetensors')
  await a.save(file)
  const read = await clip.loadClassifier(file)
  t.is(read.kind, 'linear-probe')
  t.deepEqual(read.settings, a.settings)
  t.deepEqual(await read.classify(held.images.slice(0, 5)), await a.classify(held.images.slice(0, 5)))
})

test('C is searched for on a validation set, as in the paper', async t => {
  const stages: string[] = []
  const probe = await clip.linearProbe(train, { validation, onProgress: p => stages.push(p.stage) })
  t.true((probe.settings.validationAccuracy as number) >= 0.5)
  t.true(stages.includes('encode') && stages.includes('fit'))
  const exponent = Math.log10(probe.settings.C as number)
  t.true(exponent >= -6 && exponent <= 6 && Math.abs(exponent * 8 - Math.round(exponent * 8)) < 1e-9)
})

test('the search tries seven powers of ten, then halves the steps around the best to an eighth of a decade', async t => {
  const asked: number[] = []
  const found = await searchC(async c => {
    const exponent = Math.log10(c)
    asked.push(exponent)
    return -Math.abs(exponent - 1.3)
  })
  t.deepEqual(asked.slice(0, 7), [-6, -4, -2, 0, 2, 4, 6])
  t.true(Math.abs(Math.log10(found.c) - 1.25) < 1e-9, `${Math.log10(found.c)}`)
  t.true(asked.length <= 15)
  // All alike: the strongest penalty.
  t.is((await searchC(async () => 1)).c, 1e-6)
})

test('Tip-Adapter computes the published logits, fine-tuned keys fit the examples better, and both are saved', async t => {
  const tip = await clip.tipAdapter(train, { templates: 'a photo of {}', alpha: 2, beta: 3 })
  t.is(tip.kind, 'tip-adapter')
  const x = await clip.encodeImage(held.images[3]!)
  const keys = await clip.encodeImage(train.images)
  const labels = [...new Set(train.labels)]
  const names = await clip.classifier(labels, { templates: 'a photo of {}' })
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + v * b[i]!, 0)
  const want = labels.map(
    (label, c) =>
      clip.info.logitScale * dot(x.data, names.embeddings.row(c)) +
      train.labels.reduce(
        (sum, owner, k) => sum + (owner === label ? 2 * Math.exp(-3 * (1 - dot(x.data, keys.row(k)))) : 0),
        0,
      ),
  )
  const got = await tip.classify(held.images[3]!, { topK: 10, as: 'logit' })
  for (const { index, score } of got) t.true(Math.abs(score - want[index]!) < 1e-3, `${score} ${want[index]}`)

  const plain = accuracy(await tip.classify(held.images), held.labels)
  const tuned = await clip.tipAdapter(train, {
    templates: 'a photo of {}',
    fineTune: { epochs: 30, learningRate: 0.01 },
    validation,
  })
  t.is(tuned.settings.fineTuned, 1)
  const after = accuracy(await tuned.classify(held.images), held.labels)
  t.true(after > plain && after >= 0.4, `${plain} training-free, ${after} fine-tuned`)
  const file = join(folder, 'tip.safetensors')
  await tuned.save(file)
  const read = await clip.loadClassifier(file)
  t.deepEqual(read.settings, tuned.settings)
  t.deepEqual(await read.classify(held.images[0]!), await tuned.classify(held.images[0]!))
})

test('errors in examples are named', async t => {
  const one = { images: train.images.slice(0, 2), labels: ['a', 'b'] }
  const wide = new Embeddings(new Float32Array(20), [2, 10] as const)
  for (const [call, message] of [
    [() => clip.linearProbe(undefined as never), /`examples` to be \{ images, labels \}/],
    [() => clip.linearProbe({ ...one, labels: ['a'] }), /`examples\.labels` to have 2 elements/],
    [() => clip.linearProbe({ ...one, labels: ['a', 'a'] }), /at least two different labels, got only "a"/],
    [() => clip.linearProbe({ ...one, labels: ['a', 3 as never] }), /`examples\.labels\[1\]` to be a string/],
    [() => clip.linearProbe({ images: [], labels: [] }), /at least one image/],
    [
      () => clip.linearProbe({ images: wide, labels: ['a', 'b'] }),
      /`examples\.images` to be rows of 192 values/,
    ],
    [() => clip.linearProbe(one, { C: -1 }), /`C` to be a number greater than 0/],
    [() => clip.linearProbe(one, { C: 1, validation: one }), /`validation` to be omitted/],
    [
      () => clip.linearProbe(one, { validation: { ...one, labels: ['a', 'c'] } }),
      /`validation\.labels\[1\]` to be one of/,
    ],
    [() => clip.linearProbe(one, { c: 1 } as never), /have known names/],
    [() => clip.tipAdapter(one, { alpha: 0 }), /`alpha` to be a number greater than 0/],
    [() => clip.tipAdapter(one, { fineTune: { epoch: 3 } as never }), /did you mean `epochs`/],
    [() => clip.tipAdapter(one, { labels: ['a'] }), /`examples\.labels\[1\]` to be one of the labels/],
    [() => clip.adapt({ images: [one.images[0]!], texts: ['a'] }), /at least two images/],
    [() => clip.adapt({ images: one.images, texts: ['a'] }), /`pairs\.texts` to have 2 elements/],
    [() => clip.adapt({ ...one, texts: ['a', 'b'] } as never), /have known names/],
    [() => clip.adapt({ images: one.images, texts: wide }), /`pairs\.texts` to be rows of 192 values/],
  ] as const) {
    const error = await thrown(call())
    t.regex(error.message, message)
    t.is(error.code as string, 'ERR_CLIP_INPUT')
  }
  const error = await thrown(
    clip.linearProbe({ images: ['/no/such.png', ...one.images], labels: ['a', 'b', 'a'] }),
  )
  t.is(error.code, 'ERR_CLIP_IMAGE')
  t.is(error.index, 0)
  const controller = new AbortController()
  const running = clip.linearProbe(train, { signal: controller.signal })
  controller.abort(new Error('enough'))
  t.is((await thrown(running)).message, 'enough')
})

test('adaptation raises recall on held-out pairs, and load applies it', async t => {
  // Digits and their names: what the embedded model hardly knows.
  const text = (label: string) => `a photo of ${label}`
  const pairs = { images: train.images, texts: train.labels.map(text) }
  const adapter = await clip.adapt(pairs, { epochs: 60, learningRate: 1e-3, batchSize: 10 })
  t.true(adapter.logitScale <= 100)
  const file = join(folder, 'digits.safetensors')
  await adapter.save(file)
  const adapted = await load(undefined, { adapter: file })
  try {
    t.not(adapted.info.fingerprint, clip.info.fingerprint)
    t.true(Math.abs(adapted.info.logitScale - adapter.logitScale) < 1e-6)
    const labels = [...new Set(train.labels)]
    const recall = async (model: typeof clip) => {
      const names = await model.classifier(labels, { templates: text('{}') })
      return accuracy(await names.classify(held.images), held.labels)
    }
    const [before, after] = [await recall(clip), await recall(adapted)]
    t.true(after >= before + 0.3, `${before} before, ${after} after`)
    // Its embeddings are the features times the trained matrix.
    const pooled = await clip.encodeImage(held.images[0]!, { output: 'pooled' })
    const got = await adapted.encodeImage(held.images[0]!, { normalize: false })
    const { image } = adapter.projections
    for (let k = 0; k < got.data.length; k++) {
      const want = image.row(k).reduce((sum, w, j) => sum + w * pooled.data[j]!, 0)
      t.true(Math.abs(got.data[k]! - want) < 1e-4 * Math.max(1, Math.abs(want)))
    }
    // What was made with one is not for the other.
    const saved = join(folder, 'names.safetensors')
    await (await adapted.classifier(['a', 'b'])).save(saved)
    t.is((await thrown(clip.loadClassifier(saved))).code, 'ERR_CLIP_MODEL_MISMATCH')
  } finally {
    await adapted.dispose()
  }
  const bytes = await readFile(file)
  await writeFile(join(folder, 'cut.safetensors'), bytes.subarray(0, bytes.length - 9))
  t.is(
    (await thrown(load(undefined, { adapter: join(folder, 'cut.safetensors') }))).code,
    'ERR_CLIP_CHECKPOINT',
  )
  t.is((await thrown(load(undefined, { adapter: join(folder, 'none') }))).code, 'ERR_CLIP_CHECKPOINT')
})
