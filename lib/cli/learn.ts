import type { Command } from 'commander'
import { argumentError, ClipError } from '../errors.js'
import { openDataset } from '../eval/dataset.js'
import { featuresOfSamples, refuse } from '../eval/features.js'
import type { Clip, Sample } from '../index.js'
import { oneOf } from '../options.js'
import { type LabelOptions, labelsOf, withLabels } from './labels.js'
import { loadFor, type ModelOptions, number, progress, withModel } from './model.js'
import { print, table } from './output.js'

interface LearnCommand extends ModelOptions, LabelOptions {
  method: string
  out: string
  fineTune?: boolean
  json?: boolean
}

interface AdaptCommand extends ModelOptions {
  out: string
  epochs?: string
  batch?: string
  seed?: string
  json?: boolean
}

interface Training {
  count: number
  samples: AsyncIterable<Sample>
}

/** Pictures that a data set marks as 'train'; all where it marks none. Read twice: to count, and to encode. */
async function trainingSamples(path: string): Promise<Training> {
  const dataset = await openDataset(path)
  let all = 0
  let marked = 0
  for await (const { split } of dataset.samples()) {
    all++
    if (split === 'train') marked++
  }
  if (all === 0) throw new ClipError('ERR_CLIP_INPUT', `${path}: has no rows`, { file: path })
  async function* chosen() {
    for await (const sample of dataset.samples()) if (marked === 0 || sample.split === 'train') yield sample
  }
  return { count: marked || all, samples: chosen() }
}

/** What a method learns on, window by window: an archive of any size is never in memory as a whole. */
function features(
  clip: Clip,
  training: Training,
  output: 'embedding' | 'pooled',
  update: (n: number) => void,
) {
  return featuresOfSamples(clip, training.samples, {
    output,
    count: training.count,
    signal: undefined,
    failed: refuse,
    progress: update,
  })
}

/** Settings that are 1 or 0. */
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

async function learn(path: string, options: LearnCommand): Promise<number> {
  const method = oneOf('--method', options.method, ['probe', 'tip'])
  if (method === 'probe' && options.fineTune)
    throw argumentError('--fine-tune', 'be left out for a probe, which has no keys', true)
  const chosen = await labelsOf(options)
  if (method === 'probe' && (chosen.labels || chosen.templates))
    throw argumentError(
      '--labels',
      'be left out for a probe, which learns from pictures alone',
      options.labels,
    )
  const training = await trainingSamples(path)
  await using clip = await loadFor(options)
  const bar = progress(training.count, 'examples', true)
  const { images, labels } = await features(
    clip,
    training,
    method === 'probe' ? 'pooled' : 'embedding',
    bar.update,
  ).finally(bar.stop)
  const given = { images, labels }
  const classifier =
    method === 'probe'
      ? await clip.linearProbe(given)
      : await clip.tipAdapter(given, { ...chosen, fineTune: options.fineTune ?? false })
  await classifier.save(options.out)
  const facts = { kind: classifier.kind, examples: given.labels.length, labels: classifier.labels.length }
  await print(
    options.json
      ? JSON.stringify({ ...facts, settings: classifier.settings, out: options.out })
      : table([
          ['learned', facts.kind],
          ['from', `${facts.examples} pictures of ${facts.labels} labels`],
          ...settingsText(classifier.settings),
          ['written', options.out],
        ]),
  )
  return 0
}

async function adapt(path: string, options: AdaptCommand): Promise<number> {
  const training = await trainingSamples(path)
  await using clip = await loadFor(options)
  const bar = progress(training.count, 'pictures', true)
  const [epochs, batchSize, seed] = [number(options.epochs), number(options.batch), number(options.seed)]
  const { images, labels: texts } = await features(clip, training, 'pooled', bar.update).finally(bar.stop)
  const adapter = await clip.adapt(
    { images, texts },
    {
      ...(epochs === undefined ? {} : { epochs }),
      ...(batchSize === undefined ? {} : { batchSize }),
      ...(seed === undefined ? {} : { seed }),
    },
  )
  await adapter.save(options.out)
  const facts = {
    pairs: texts.length,
    loss: adapter.loss,
    logitScale: adapter.logitScale,
    out: options.out,
  }
  await print(
    options.json
      ? JSON.stringify(facts)
      : table([
          ['pairs', String(facts.pairs)],
          ...settingsText({ loss: facts.loss, 'logit scale': facts.logitScale }),
          ['written', `${options.out}: use it with --adapter`],
        ]),
  )
  return 0
}

export function registerLearn(root: Command, finish: (code: number) => void): void {
  withModel(
    withLabels(
      root
        .command('learn')
        .description('learn a classifier from labelled pictures, for classify --classifier')
        .argument(
          '<examples>',
          "a folder with a folder per class, a CSV (file,label[,split]: 'train' is used) or a WebDataset tar",
        )
        .requiredOption('--out <file>', 'where to write the classifier')
        .option('--method <name>', 'probe (linear probe) or tip (Tip-Adapter: names and examples)', 'probe')
        .option('--fine-tune', 'of tip: train its keys')
        .option('--json', 'print JSON'),
    ),
  ).action(async (examples, options) => finish(await learn(examples, options)))
  withModel(
    root
      .command('adapt')
      .description('train the projections on pairs of pictures and texts, for --adapter')
      .argument('<pairs>', 'a CSV (file,text) or a WebDataset tar (.jpg and .txt)')
      .requiredOption('--out <file>', 'where to write the adapter')
      .option('--epochs <count>', 'times that all pairs go by', '20')
      .option('--batch <count>', 'pairs that are told from each other at a time', '256')
      .option('--seed <number>', 'of the order of pairs', '1')
      .option('--json', 'print JSON'),
  ).action(async (pairs, options) => finish(await adapt(pairs, options)))
}
