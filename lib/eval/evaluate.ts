/** Measures a model on labelled images: zero-shot, few-shot, linear probe, and retrieval in both directions. */

import { argumentError, ClipError, got, quote } from '../base/errors.js'
import { callback, checkOptions, checkSignal, integer, listOf, oneOf } from '../base/options.js'
import { traced } from '../base/stack.js'
import { has, isArray, isObject, isUint8Array } from '../base/values.js'
import type { Classifier } from '../classifier/classifier.js'
import type { Label } from '../classifier/labels.js'
import type { Template } from '../classifier/prompts.js'
import type { Clip } from '../clip.js'
import type { DecodeOption } from '../encode/image.js'
import { decodeModes } from '../image/decode-mode.js'
import type { ImageInput } from '../image/input.js'
import { LeftOutList } from '../image/left-out.js'
import { decodeOf, type EvaluationCall, samplesOf, signalOf, templatesOf, unreadable } from './call.js'
import { checkDatasetOptions, type DatasetOptions, datasetOf, datasetOptionNames } from './dataset.js'
import { featuresOfSamples, nameOf } from './features.js'
import { only } from './images.js'
import { ClassificationMetrics, drawShots } from './metrics.js'
import type { ClassificationReport, Evaluation, EvaluationTask, Mistake } from './reports.js'
import { retrieval } from './retrieval.js'
import type { Dataset, Sample } from './samples.js'

export const evaluationTasks: readonly EvaluationTask[] = ['zeroshot', 'fewshot', 'probe', 'retrieval']

/** Options of {@link evaluate}. */
export interface EvaluateOptions extends DatasetOptions, DecodeOption {
  /** 'zeroshot' (default): class names only. 'fewshot': Tip-Adapter. 'probe': linear probe. 'retrieval': captions. */
  task?: EvaluationTask
  /** An existing classifier to measure, instead of `task`, `labels`, `templates` and `shots`. */
  classifier?: Classifier
  /** The classes, as in `clip.classifier`; default: the labels of the data set, in their order. */
  labels?: readonly Label[]
  /** Prompt templates, as in `clip.classifier`. A linear probe has none. */
  templates?: Template | readonly Template[]
  /**
   * Number of examples per class to learn from. They are drawn with `seed` from the samples of split 'train', or from all
   * samples if there is no such split; the others are the test set. Default: all samples of split 'train', or 16 per class
   * without that split. A class with no more than `shots` samples keeps one of them for the test.
   */
  shots?: number
  /** Random seed for drawing the examples, default 1. */
  seed?: number
  /** C of the linear probe; default as in `clip.linearProbe`. */
  C?: number
  /** Use only the first `limit` samples of the data set. */
  limit?: number
  /** Aborts the evaluation, which then rejects with the signal's reason. */
  signal?: AbortSignal
  /** Progress callback: the number of texts, examples or test images that are done. */
  onProgress?: (progress: { stage: 'texts' | 'learn' | 'test'; done: number; total: number }) => void
}

const mostMistakes = 24
/** Maximum size of an image in memory that a mistake keeps. */
const mostKept = 32 * 1024

/** Undefined for an invalid label, which the classifier reports. */
const labelName = (label: Label | undefined): string | undefined =>
  typeof label === 'string' ? label : isArray(label) ? (label[0] as string) : label?.label

/** The indices of the training samples; undefined if the task needs none. */
function trainingSet(
  call: EvaluationCall,
  labels: readonly string[],
  splits: readonly string[],
): Set<number> | undefined {
  if (call.task === 'zeroshot' || call.classifier) return undefined
  const marked = splits.flatMap((split, i) => (split === 'train' ? [i] : []))
  if (marked.length === 0) return new Set(drawShots(labels, call.shots ?? 16, call.seed))
  if (call.shots === undefined) return new Set(marked)
  const drawn = drawShots(
    marked.map(i => labels[i]!),
    call.shots,
    call.seed,
    0,
  )
  return new Set(drawn.map(i => marked[i]!))
}

/** Features of the training samples; samples that can't be read are left out and listed. */
function examples(call: EvaluationCall, chosen: Set<number>) {
  return featuresOfSamples(call.clip, only(samplesOf(call), chosen), {
    output: call.task === 'probe' ? 'pooled' : 'embedding',
    count: chosen.size,
    decode: call.decode,
    signal: call.signal,
    failed: (name, { message }) => call.failed.push({ name, message }),
    progress: done => call.onProgress({ stage: 'learn', done, total: chosen.size }),
  })
}

async function classifierFor(
  call: EvaluationCall,
  names: Label[],
  chosen: Set<number> | undefined,
): Promise<Classifier> {
  if (!chosen)
    return call.clip.classifier(names, {
      ...templatesOf(call),
      ...signalOf(call),
      onProgress: p => call.onProgress({ stage: 'texts', ...p }),
    })
  const { images, labels } = await examples(call, chosen)
  const given = { images, labels }
  if (call.task === 'probe')
    return call.clip.linearProbe(given, { ...(call.C === undefined ? {} : { C: call.C }), ...signalOf(call) })
  return call.clip.tipAdapter(given, { labels: names, ...templatesOf(call), ...signalOf(call) })
}

const kept = (image: ImageInput): ImageInput =>
  isUint8Array(image) && image.byteLength > mostKept ? '' : image

async function classification(call: EvaluationCall): Promise<ClassificationReport> {
  const truths: string[] = []
  const splits: string[] = []
  for await (const sample of samplesOf(call, true)) {
    truths.push(sample.label)
    splits.push(sample.split ?? '')
  }
  if (truths.length === 0) throw argumentError('dataset', 'have at least one sample', got('none'))
  const names: Label[] = [...(call.classifier?.labels ?? call.labels ?? new Set(truths))]
  const known = new Set(names.map(labelName))
  const stranger = truths.findIndex(label => !known.has(label))
  if (stranger >= 0)
    throw argumentError(
      call.classifier ? 'classifier' : 'labels',
      `have the data set's ${quote(truths[stranger]!)}`,
      got('labels without it'),
    )
  const chosen = trainingSet(call, truths, splits)
  const hasSplit = splits.includes('test')
  /** If there are splits, only 'test' is tested: the unused samples of 'train' are too similar to the used ones. */
  const isTest = (i: number) => !chosen?.has(i) && (!hasSplit || splits[i] === 'test')
  const total = truths.reduce((sum, _, i) => sum + Number(isTest(i)), 0)
  if (total === 0) throw argumentError('shots', 'leave images for the test', call.shots ?? 'all')
  const classifier = call.classifier ?? (await classifierFor(call, names, chosen))
  const index = new Map(classifier.labels.map((label, i) => [label, i]))
  const metrics = new ClassificationMetrics(classifier.labels)
  const mistakes: Mistake[] = []
  const waiting: { sample: Sample; i: number }[] = []
  async function* tests() {
    let i = -1
    for await (const sample of samplesOf(call)) {
      i++
      if (!isTest(i)) continue
      waiting.push({ sample, i })
      yield sample.image
    }
  }
  let done = 0
  for await (const item of classifier.stream(tests(), {
    topK: 5,
    ...decodeOf(call),
    ...signalOf(call),
  })) {
    const { sample, i } = waiting.shift()!
    call.onProgress({ stage: 'test', done: ++done, total })
    if (item.error) {
      call.failed.push({ name: nameOf(sample, i), message: item.error.message })
      continue
    }
    const [first] = item.predictions
    // A probe can't predict a label without examples: its images count as wrong.
    const truth = index.get(sample.label)
    if (truth === undefined)
      throw argumentError('shots', `leave an example of ${quote(sample.label)}`, got('none'))
    metrics.add({ truth, best: item.predictions.map(p => p.index), confidence: first!.score })
    if (first!.index === truth) continue
    if (mistakes.length === mostMistakes && first!.score <= mistakes.at(-1)!.probability) continue
    mistakes.push({
      name: nameOf(sample, i),
      label: sample.label,
      predicted: first!.label,
      probability: first!.score,
      image: kept(sample.image),
    })
    mistakes.sort((a, b) => b.probability - a.probability)
    if (mistakes.length > mostMistakes) mistakes.pop()
  }
  const result = metrics.result()
  if (result.count === 0) throw unreadable(call)
  return {
    task: call.task as ClassificationReport['task'],
    dataset: call.dataset.name,
    fingerprint: call.clip.info.fingerprint,
    labels: [...classifier.labels],
    ...(chosen
      ? {
          learned: {
            examples: chosen.size,
            shots: call.shots ?? (splits.includes('train') ? ('all' as const) : 16),
            seed: call.seed,
            settings: classifier.settings,
          },
        }
      : {}),
    ...(call.classifier ? { classifier: { kind: classifier.kind, settings: classifier.settings } } : {}),
    ...result,
    mistakes,
    failed: call.failed,
    ...(call.leftOut.count > 0 ? { leftOut: call.leftOut.toJSON() } : {}),
  }
}

const taskOf = { 'zero-shot': 'zeroshot', 'linear-probe': 'probe', 'tip-adapter': 'fewshot' } as const

function checkClip(value: unknown): Clip {
  const expected = 'be a model that load() opened'
  if (has(value, 'classify', 'stream'))
    throw argumentError('clip', `${expected} (a classifier is given as the option \`classifier\`)`, value)
  if (!has(value, 'encodeImage', 'classifier') || !isObject((value as Clip).info))
    throw argumentError('clip', expected, value)
  return value as Clip
}

/** A classifier that is passed in replaces all options for creating one. */
function checkClassifier(clip: Clip, o: Partial<EvaluateOptions>): Classifier | undefined {
  const { classifier } = o
  if (classifier === undefined) return undefined
  if (!has(classifier, 'classify', 'stream'))
    throw argumentError('classifier', 'be a classifier that this model made or loaded', classifier)
  for (const name of ['task', 'labels', 'templates', 'shots', 'C'] as const)
    if (o[name] !== undefined) throw argumentError(name, 'be omitted if `classifier` is given', o[name])
  const { fingerprint } = clip.info
  if (classifier.fingerprint !== fingerprint)
    throw new ClipError(
      'ERR_CLIP_MODEL_MISMATCH',
      'The classifier belongs to another model than the one to be measured',
      { field: 'classifier', expected: fingerprint, actual: classifier.fingerprint },
    )
  return classifier
}

const copied = <T>(field: string, value: T): T =>
  isArray(value) ? (listOf(field, 'be an array', value) as T) : value

/**
 * Measures a model on labelled images. `dataset` is a path for {@link openDataset}, a data set, or an array of samples.
 * Images are read as they are needed, two or three times, so an archive may be larger than memory. Samples with the same
 * image (the same file, or the same bytes) count as one image with several captions. Recall is defined as in CLIP_benchmark
 * and the papers: the share of images that have one of their captions among the first k results, and the share of captions
 * that have one of their images there. A caption that several images share is one text.
 *
 * Memory: 'zeroshot' keeps only the label of each image; 'retrieval' keeps the embeddings of images and texts, 4 * embedDim
 * bytes each (61 MB in total for 10 000 pairs at dimension 512); 'fewshot' and 'probe' need as much as `clip.tipAdapter`
 * and `clip.linearProbe`. The matrix of all images against all texts is never in memory.
 *
 * Rejects with a ClipError ERR_CLIP_INPUT for a data set that can't be read (single images that can't be read are listed in
 * `failed`), or ERR_CLIP_IMAGE if none of its images can be read; with a TypeError or RangeError for invalid options; or
 * with `signal.reason`.
 */
export function evaluate(
  clip: Clip,
  dataset: string | URL | Dataset | readonly Sample[],
  options?: EvaluateOptions,
): Promise<Evaluation> {
  return traced(evaluate, () => measure(clip, dataset, options))
}

async function measure(
  clip: Clip,
  dataset: string | URL | Dataset | readonly Sample[],
  options: EvaluateOptions | undefined,
): Promise<Evaluation> {
  checkClip(clip)
  const o = checkOptions(options, [
    ...[
      'task',
      'classifier',
      'labels',
      'templates',
      'shots',
      'seed',
      'C',
      'limit',
      'decode',
      'signal',
      'onProgress',
    ],
    ...datasetOptionNames,
  ])
  const signal = checkSignal(o.signal)
  const classifier = checkClassifier(clip, o)
  const task = classifier ? taskOf[classifier.kind] : oneOf('task', o.task ?? 'zeroshot', evaluationTasks)
  if (o.labels !== undefined && task === 'retrieval')
    throw argumentError('labels', "be omitted for 'retrieval', whose texts are the data set's", o.labels)
  const call: Omit<EvaluationCall, 'dataset'> = {
    clip,
    task,
    classifier,
    // Copied, because the caller may change the arrays while this runs.
    labels:
      o.labels === undefined
        ? undefined
        : (listOf('labels', 'be an array of at least one label', o.labels) as Label[]),
    templates: copied('templates', o.templates),
    shots: o.shots === undefined ? undefined : integer('shots', o.shots, 1),
    seed: integer('seed', o.seed ?? 1, 0),
    C: o.C,
    limit: o.limit === undefined ? Number.POSITIVE_INFINITY : integer('limit', o.limit, 1),
    decode: o.decode === undefined ? undefined : oneOf('decode', o.decode, decodeModes),
    signal,
    onProgress: callback('onProgress', o.onProgress) ?? (() => {}),
    failed: [],
    leftOut: new LeftOutList(),
  }
  const whole = { ...call, dataset: await datasetOf(dataset, checkDatasetOptions(o), signal) }
  return task === 'retrieval' ? retrieval(whole) : classification(whole)
}
