import type { Command } from 'commander'
import { argumentError, ClipError } from '../base/errors.js'
import { oneOf } from '../base/options.js'
import { copySlices } from '../base/slices.js'
import { unnamed } from '../eval/call.js'
import { openDataset } from '../eval/dataset.js'
import { featuresOfSamples, refuse } from '../eval/features.js'
import { distinctImages, only } from '../eval/images.js'
import { LeftOutList } from '../image/left-out.js'
import { type Clip, Embeddings, type Sample } from '../index.js'
import { untilInterrupted } from './interrupt.js'
import {
  type DatasetCommand,
  datasetOptions,
  type LabelOptions,
  labelsOf,
  withDataset,
  withLabels,
} from './labels.js'
import { tellLeftOut } from './left-out.js'
import { loadFor, type ModelOptions, number, progress, withModel } from './model.js'
import { print, table } from './output.js'

interface LearnCommand extends ModelOptions, LabelOptions, DatasetCommand {
  method: string
  out: string
  fineTune?: boolean
  json?: boolean
}

interface AdaptCommand extends ModelOptions, DatasetCommand {
  out: string
  epochs?: string
  batch?: string
  seed?: string
  json?: boolean
}

interface Training {
  count: number
  /** Starts from the first image at each call. */
  samples(): AsyncIterable<Sample>
  leftOut: LeftOutList
  signal: AbortSignal
}

/** The images of split 'train', or all images if there is no such split. They are read twice: to count and to encode them. */
async function trainingSamples(
  path: string,
  options: DatasetCommand,
  signal: AbortSignal,
  isNamed: (sample: Sample) => boolean,
): Promise<Training> {
  const dataset = await openDataset(path, await datasetOptions(options))
  const leftOut = new LeftOutList()
  let all = 0
  let marked = 0
  for await (const sample of dataset.samples(signal, leftOut.add)) {
    if (!isNamed(sample)) throw unnamed(path, sample.name, sample.label)
    all++
    if (sample.split === 'train') marked++
  }
  if (all === 0) throw new ClipError('ERR_CLIP_INPUT', `${path}: has no rows`, { file: path })
  async function* samples() {
    for await (const sample of dataset.samples(signal))
      if (marked === 0 || sample.split === 'train') yield sample
  }
  return { count: marked || all, samples, leftOut, signal }
}

/** The training features, computed in windows, so that an archive of any size is never in memory as a whole. */
async function features(
  clip: Clip,
  { signal }: Training,
  samples: AsyncIterable<Sample>,
  count: number,
  output: 'embedding' | 'pooled',
) {
  const bar = progress(count, output === 'pooled' ? 'images' : 'examples', true)
  return featuresOfSamples(clip, samples, {
    output,
    count,
    signal,
    failed: refuse,
    progress: bar.update,
  }).finally(bar.stop)
}

/** Exit code: 1 if a folder of the data set could not be read. */
const codeOf = ({ leftOut }: Training) => (leftOut.unreadable > 0 ? 1 : 0)

/** Settings whose value is 1 or 0. */
const yesNo = new Set(['converged', 'fineTuned'])

const settingsText = (settings: Readonly<Record<string, number | string>>): (readonly [string, string])[] =>
  Object.entries(settings).map(([name, value]) => [
    name,
    yesNo.has(name)
      ? value
        ? 'yes'
        : 'no'
      : typeof value === 'number'
        ? String(Number(value.toPrecision(6)))
        : value,
  ])

async function learn(path: string, options: LearnCommand, signal: AbortSignal): Promise<number> {
  const method = oneOf('--method', options.method, ['probe', 'tip'])
  if (method === 'probe' && options.fineTune)
    throw argumentError('--fine-tune', 'be omitted for a probe, which has no keys', true)
  const chosen = await labelsOf(options)
  if (method === 'probe' && (chosen.labels || chosen.templates))
    throw argumentError('--labels', 'be omitted for a probe, which learns from images alone', options.labels)
  const training = await trainingSamples(
    path,
    options,
    signal,
    sample => !sample.numbered || chosen.labels !== undefined,
  )
  await using clip = await loadFor(options, { signal, note: true })
  const output = method === 'probe' ? 'pooled' : 'embedding'
  const { images, labels } = await features(clip, training, training.samples(), training.count, output)
  const given = { images, labels }
  const classifier =
    method === 'probe'
      ? await clip.linearProbe(given, { signal })
      : await clip.tipAdapter(given, { ...chosen, fineTune: options.fineTune ?? false, signal })
  signal.throwIfAborted()
  await classifier.save(options.out)
  const facts = { kind: classifier.kind, examples: labels.length, labels: classifier.labels.length }
  const { settings } = classifier
  const { leftOut } = training
  if (!options.json) tellLeftOut(leftOut)
  await print(
    options.json
      ? JSON.stringify({ ...facts, settings, out: options.out, leftOut })
      : table([
          ['learned', facts.kind],
          ['from', `${facts.examples} images of ${facts.labels} labels`],
          ...settingsText(settings),
          ['written', options.out],
        ]),
  )
  return codeOf(training)
}

/** Pairs of images and captions: an image with several captions is encoded once and used in several pairs. */
async function pairsOf(clip: Clip, training: Training): Promise<{ images: Embeddings; texts: string[] }> {
  const { first, captions } = await distinctImages(training.samples())
  const { images } = await features(clip, training, only(training.samples(), first), first.size, 'pooled')
  const texts = captions.flat()
  if (texts.length === captions.length) return { images, texts }
  const width = images.shape[1]
  const data = new Float32Array(texts.length * width)
  let pair = 0
  for (const [image, own] of captions.entries())
    for (const _ of own) await copySlices(data, images.row(image), width * pair++)
  return { images: new Embeddings(data, [texts.length, width] as const), texts }
}

async function adapt(path: string, options: AdaptCommand, signal: AbortSignal): Promise<number> {
  const isNamed = (sample: Sample) => !sample.numbered || sample.captions !== undefined
  const training = await trainingSamples(path, options, signal, isNamed)
  await using clip = await loadFor(options, { signal, note: true })
  const [epochs, batchSize, seed] = [number(options.epochs), number(options.batch), number(options.seed)]
  const pairs = await pairsOf(clip, training)
  const adapter = await clip.adapt(pairs, {
    signal,
    ...(epochs === undefined ? {} : { epochs }),
    ...(batchSize === undefined ? {} : { batchSize }),
    ...(seed === undefined ? {} : { seed }),
  })
  signal.throwIfAborted()
  await adapter.save(options.out)
  const facts = {
    pairs: pairs.texts.length,
    loss: adapter.loss,
    logitScale: adapter.logitScale,
    out: options.out,
  }
  const { leftOut } = training
  if (!options.json) tellLeftOut(leftOut)
  await print(
    options.json
      ? JSON.stringify({ ...facts, leftOut })
      : table([
          ['pairs', String(facts.pairs)],
          ...settingsText({ loss: facts.loss, 'logit scale': facts.logitScale }),
          ['written', `${options.out} (use it with --adapter)`],
        ]),
  )
  return codeOf(training)
}

export function registerLearn(root: Command, finish: (code: number) => void): void {
  withModel(
    withDataset(
      withLabels(
        root
          .command('learn')
          .description('train a classifier on labelled images, for classify --classifier')
          .argument(
            '<examples>',
            "folder with one subfolder per class, CSV file (file,label[,split]; rows of split 'train' are used), or WebDataset tar",
          )
          .requiredOption('--out <file>', 'file to write the classifier to')
          .option(
            '--method <name>',
            'probe (linear probe) or tip (Tip-Adapter, which also uses the class names)',
            'probe',
          )
          .option('--fine-tune', 'with --method tip: train the cache keys')
          .option('--json', 'print JSON'),
      ),
    ),
  ).action(async (examples, options) =>
    finish(await untilInterrupted(signal => learn(examples, options, signal))),
  )
  withModel(
    withDataset(
      root
        .command('adapt')
        .description('train both projections on pairs of images and texts, for --adapter')
        .argument('<pairs>', 'CSV file (file,text) or WebDataset tar (.jpg and .txt)')
        .requiredOption('--out <file>', 'file to write the adapter to')
        .option('--epochs <count>', 'number of epochs', '20')
        .option('--batch <count>', 'pairs per batch: the negatives of the contrastive loss', '256')
        .option('--seed <number>', 'random seed for the order of the pairs', '1')
        .option('--json', 'print JSON'),
    ),
  ).action(async (pairs, options) => finish(await untilInterrupted(signal => adapt(pairs, options, signal))))
}
