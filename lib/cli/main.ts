#!/usr/bin/env node
/** The command line. Exit codes: 0 done, 1 something failed, 2 wrong usage. */

import { Command, CommanderError } from 'commander'
import { version } from '../base/package.js'
import { bench } from './bench.js'
import { build } from './build.js'
import { classify } from './classify.js'
import { doctor } from './doctor.js'
import { registerDownload } from './download.js'
import { embed } from './embed.js'
import { registerEval } from './eval.js'
import { gpuSelfcheck } from './gpu/command.js'
import { info } from './info.js'
import { withLabels } from './labels.js'
import { registerLearn } from './learn.js'
import { withModel } from './model.js'
import { registerModels } from './models.js'
import { errorJson, errorLine } from './output.js'
import { registerStore } from './store.js'

// `clip-native ... | head`: the reader has what it wanted.
process.stdout.on('error', error => {
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0)
  throw error
})

const json = ['--json', 'print JSON, one object a line'] as const

function program(finish: (code: number) => void): Command {
  const root = new Command('clip-native')
    .description('CLIP in the terminal: images and texts in one space.')
    .version(version)
    .showSuggestionAfterError()
    .exitOverride()
  withModel(
    withLabels(
      root
        .command('classify')
        .description('say which of some labels fits each image best')
        .argument('[image...]', 'files')
        .option('--classifier <file>', 'labels that --save or learn wrote, instead of --labels')
        .option('--save <file>', 'keep the encoded labels for --classifier')
        .option('--top <count>', 'labels to show per image (default: 5, with --threshold all)')
        .option('--as <score>', 'probability, logit or cosine', 'probability')
        .option('--threshold <number>', 'only labels with at least this score')
        .option(...json),
    ),
  ).action(async (images, options) => finish(await classify(images, options)))
  withModel(
    root
      .command('embed')
      .description('print the embedding of each image and text as a line of JSON, or write them to a file')
      .argument('[image...]', 'files; with --store folders too')
      .option('--text <text...>', 'texts to embed')
      .option('--store <folder>', 'add images to a store that can be searched; goes on where it stopped')
      .option('--follow-links', 'with --store: follow links that lead out of the folders')
      .option('--store-dtype <name>', 'float32, bfloat16 or int8 on disk, for a new store')
      .option(
        '--out <file.npy>',
        'write a float32 matrix that numpy.load reads; rows of failed items are NaN',
      )
      .option('--no-normalize', 'as OpenAI encode_image returns them, not scaled to length 1')
      .option('--truncate', 'cut texts that are too long')
      .option(...json),
  ).action(async (images, options) => finish(await embed(images, options)))
  withModel(
    root
      .command('info')
      .description('what a model is and what it runs on')
      .option(...json),
  ).action(async options => finish(await info(options)))
  withModel(
    root
      .command('bench')
      .description('how fast a model runs here')
      .option('--seconds <number>', 'time for each figure', '1')
      .option(...json),
  ).action(async options => finish(await bench(options)))
  root
    .command('doctor')
    .description('what this machine runs, and whether it computes what PyTorch computes')
    .option(...json)
    .action(async options => finish(await doctor(options)))
  root
    .command('gpu-selfcheck')
    .description('whether the GPU here computes what the reference does, and how fast: a report for an issue')
    .option('--model <path>', 'for towers and timings (default: the embedded model)')
    .option('--onnx <folder>', 'vision_model.onnx and text_model.onnx of that model, for onnxruntime-node')
    .option('--out <file>', 'write the report there as well', 'gpu-selfcheck.md')
    .option('--seconds <number>', 'time for each figure', '1')
    .option('--batches <numbers>', 'items of a call to time', '1,8,64')
    .option(...json)
    .action(async options => finish(await gpuSelfcheck(options)))
  root
    .command('build')
    .description(
      'compile the addon of this package, where no prebuilt one fits (CMake, make, a C++20 compiler)',
    )
    .action(async () => finish(await build()))
  registerEval(root, finish)
  registerLearn(root, finish)
  registerStore(root, finish)
  registerModels(root)
  registerDownload(root)
  return root
}

async function main(): Promise<void> {
  try {
    await program(code => {
      process.exitCode = code
    }).parseAsync()
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 2 // commander has said what is wrong
      return
    }
    if (process.argv.includes('--json'))
      process.stderr.write(`${JSON.stringify({ error: errorJson(error) })}\n`)
    else process.stderr.write(`clip-native: ${errorLine(error)}\n`)
    process.exitCode = (error as { code?: string }).code === 'ERR_CLIP_INPUT' ? 2 : 1
  }
}

void main()
