/** A classifier that is there already, measured. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type ClassificationReport, evaluate, load, openDataset, type Sample } from '../../lib/index.js'
import { testData } from '../helpers/test-data.js'

const clip = await load()
const base = await mkdtemp(join(tmpdir(), 'clip-native-classifier-'))
test.after.always(async () => {
  await clip.dispose()
  await rm(base, { recursive: true, force: true })
})

let given: { images: Sample['image'][]; labels: string[] }
let train: Sample[]
let held: Sample[]
test.before(async () => {
  const digits: Sample[] = []
  for await (const sample of (await openDataset(join(testData, 'digits.csv'))).samples()) digits.push(sample)
  const of = (label: string, from: number, to: number) =>
    digits.filter(sample => sample.label === label).slice(from, to)
  train = ['one', 'two', 'three'].flatMap(label => of(label, 0, 8))
  held = ['two', 'one'].flatMap(label => of(label, 8, 16))
  given = { images: train.map(s => s.image), labels: train.map(s => s.label) }
})

test('evaluating any kind of classifier, new or read from a file, agrees with classify', async t => {
  for (const [task, classifier] of [
    ['zeroshot', await clip.classifier(['one', 'two', 'three'], { templates: 'the digit {}' })],
    ['probe', await clip.linearProbe(given)],
    ['fewshot', await clip.tipAdapter(given)],
  ] as const) {
    const file = join(base, `${task}.safetensors`)
    await classifier.save(file)
    const answers = await classifier.classify(held.map(s => s.image))
    const right = answers.filter(([best], i) => best!.label === held[i]!.label).length
    for (const one of [classifier, await clip.loadClassifier(file)]) {
      const report = (await evaluate(clip, held, { classifier: one })) as ClassificationReport
      t.is(report.task, task)
      t.is(report.count, 16)
      t.is(report.top1, right / 16)
      // All labels of the classifier, in its order: not those of the data set.
      t.deepEqual(report.labels, ['one', 'two', 'three'])
      t.deepEqual(report.classifier, { kind: classifier.kind, settings: classifier.settings })
      t.is(report.learned, undefined)
    }
  }
})

test('evaluate refuses a classifier as the model, of another model, or without a label of the data set', async t => {
  const classifier = await clip.classifier(['one', 'two'])
  const refusal = async (call: Promise<unknown>) =>
    (await t.throwsAsync(call, { any: true } as never)) as unknown as Error & { code: string }
  for (const model of [classifier, undefined, null, {}, 'model', { encodeImage() {} }]) {
    const error = await refusal(evaluate(model as never, held))
    t.is(error.code, 'ERR_CLIP_INPUT')
    t.regex(error.message, /^Expected `clip` to be a model that load\(\) opened/)
  }
  t.regex((await refusal(evaluate(classifier as never, held))).message, /given as the option `classifier`/)
  for (const [options, message] of [
    [{ classifier: {} }, /`classifier` to be a classifier/],
    [{ classifier: 'file.safetensors' }, /`classifier` to be a classifier/],
    [{ classifier, task: 'probe' }, /`task` to be omitted if `classifier` is given/],
    [{ classifier, labels: ['one'] }, /`labels` to be omitted if `classifier` is given/],
    [{ classifier, templates: '{}' }, /`templates` to be omitted/],
    [{ classifier, shots: 1 }, /`shots` to be omitted/],
    [{ classifier, C: 1 }, /`C` to be omitted/],
    [{ labels: 'one' }, /`labels` to be an array/],
    [{ labels: [undefined, null, 5] }, /`labels/],
    [{ labels: [{}] }, /`labels/],
  ] as const) {
    const error = await refusal(evaluate(clip, held, options as never))
    t.is(error.code, 'ERR_CLIP_INPUT')
    t.regex(error.message, message)
  }
  const stranger = await refusal(evaluate(clip, train, { classifier }))
  t.regex(stranger.message, /Expected `classifier` to have the data set's "three"/)
  const adapter = await clip.adapt({ images: given.images, texts: given.labels }, { epochs: 1 })
  await adapter.save(join(base, 'adapter.safetensors'))
  await using other = await load(undefined, { adapter: join(base, 'adapter.safetensors') })
  const foreign = await refusal(evaluate(other, held, { classifier }))
  t.is(foreign.code, 'ERR_CLIP_MODEL_MISMATCH')
})
