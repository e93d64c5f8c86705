import type { Command } from 'commander'
import { argumentError, ClipError } from '../errors.js'
import { openDataset, type Sample } from '../eval/dataset.js'
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

/** Pictures that a data set marks as 'train'; all where it marks none. Their files are read when they are encoded. */
async function trainingSamples(path: string): Promise<Sample[]> {
  const dataset = await openDataset(path)
  const all: Sample[] = []
  for await (const sample of dataset.samples()) all.push(sample)
  const marked = all.filter(s => s.split === 'train')
  const chosen = marked.length > 0 ? marked : all
  if (chosen.length === 0) throw new ClipError('ERR_CLIP_INPUT', `${path}: has no rows`, { file: path })
  return chosen
}

const settingsText = (settings: Readonly<Record<string, number | string>>): (readonly [string, string])[] =>
  Object.entries(settings).map(([name, value]) => [
    name,
    typeof value === 'number' ? String(Number(value.toPrecision(6))) : value,
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
  const samples = await trainingSamples(path)
  await using clip = await loadFor(options)
  const given = { images: samples.map(s => s.image), labels: samples.map(s => s.label) }
  const bar = progress(samples.length, 'examples', true)
  const onProgress = (p: { done: number; stage?: string }) => {
    if (p.stage !== 'fit') bar.update(p.done)
  }
  const made =
    method === 'probe'
      ? clip.linearProbe(given, { onProgress })
      : clip.tipAdapter(given, { ...chosen, fineTune: options.fineTune ?? false, onProgress })
  const classifier = await made.finally(bar.stop)
  await classifier.save(options.out)
  const facts = { kind: classifier.kind, examples: samples.length, labels: classifier.labels.length }
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
  const samples = await trainingSamples(path)
  await using clip = await loadFor(options)
  const bar = progress(samples.length, 'pictures', true)
  const [epochs, batchSize, seed] = [number(options.epochs), number(options.batch), number(options.seed)]
  const adapter = await clip
    .adapt(
      { images: samples.map(s => s.image), texts: samples.map(s => s.label) },
      {
        ...(epochs === undefined ? {} : { epochs }),
        ...(batchSize === undefined ? {} : { batchSize }),
        ...(seed === undefined ? {} : { seed }),
        onProgress: p => bar.update(p.done),
      },
    )
    .finally(bar.stop)
  await adapter.save(options.out)
  const facts = {
    pairs: samples.length,
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
          "a folder with a folder per class, or a CSV (file,label[,split]: 'train' is used)",
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
      .argument('<pairs.csv>', 'a CSV (file,text)')
      .requiredOption('--out <file>', 'where to write the adapter')
      .option('--epochs <count>', 'times that all pairs go by', '20')
      .option('--batch <count>', 'pairs that are told from each other at a time', '256')
      .option('--seed <number>', 'of the order of pairs', '1')
      .option('--json', 'print JSON'),
  ).action(async (pairs, options) => finish(await adapt(pairs, options)))
}
