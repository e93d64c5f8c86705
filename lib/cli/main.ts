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
import { withCheckpoint, withModel } from './model.js'
import { registerModels } from './models.js'
import { errorJson, errorLine } from './output.js'
import { registerStore } from './store.js'

// In `clip-native ... | head`, the reader may close the pipe early.
process.stdout.on('error', error => {
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0)
  throw error
})

const json = ['--json', 'print JSON, one object per line'] as const

function program(finish: (code: number) => void): Command {
  const root = new Command('clip-native')
    .description('Classify, embed and search images with CLIP models, from the command line.')
    .version(version)
    .showSuggestionAfterError()
    .exitOverride()
  withModel(
    withLabels(
      root
        .command('classify')
        .description('classify images: score every label for each image')
        .argument('[image...]', 'image files')
        .option('--classifier <file>', 'use a classifier that --save or learn wrote, instead of --labels')
        .option('--save <file>', 'save the encoded labels as a file for --classifier')
        .option('--top <count>', 'number of labels to show per image (default: 5; all with --threshold)')
        .option('--as <score>', 'score to print: probability, logit or cosine', 'probability')
        .option('--threshold <number>', 'show only labels with at least this score')
        .option(...json),
    ),
  ).action(async (images, options) => finish(await classify(images, options)))
  withModel(
    root
      .command('embed')
      .description('embed images and texts: print JSON lines, write a .npy file, or add images to a store')
      .argument('[image...]', 'image files; with --store, folders as well')
      .option('--text <text...>', 'texts to embed')
      .option('--store <folder>', 'add the images to a searchable store; an interrupted run resumes')
      .option('--follow-links', 'with --store: follow symbolic links that lead out of the folders')
      .option('--store-dtype <name>', 'number format of a new store on disk: float32, bfloat16 or int8')
      .option('--out <file.npy>', 'write a float32 matrix for numpy.load; rows of items that fail are NaN')
      .option('--no-normalize', "do not scale embeddings to length 1 (as OpenAI's encode_image)")
      .option('--truncate', "cut texts that exceed the model's context length, instead of failing")
      .option(...json),
  ).action(async (images, options) => finish(await embed(images, options)))
  withModel(
    root
      .command('info')
      .description("show a model's sizes, towers, device and fingerprint")
      .option(...json),
  ).action(async options => finish(await info(options)))
  withModel(
    root
      .command('bench')
      .description('measure how fast a model runs on this machine')
      .option('--seconds <number>', 'seconds to spend on each measurement', '1')
      .option(...json),
  ).action(async options => finish(await bench(options)))
  root
    .command('doctor')
    .description('show which devices and backends work here, and compare each with results from PyTorch')
    .option(...json)
    .action(async options => finish(await doctor(options)))
  withCheckpoint(
    root
      .command('gpu-selfcheck')
      .description('check and time the GPU kernels on this machine; writes a report to attach to an issue')
      .option('--model <path>', 'model for the tower checks and timings (default: the embedded model)'),
  )
    .option(
      '--onnx <folder>',
      'folder with vision_model.onnx and text_model.onnx of that model, to time onnxruntime-node as well',
    )
    .option('--out <file>', 'file to write the report to', 'gpu-selfcheck.md')
    .option('--seconds <number>', 'seconds to spend on each measurement', '1')
    .option('--batches <numbers>', 'batch sizes to time', '1,8,64')
    .option(...json)
    .action(async options => finish(await gpuSelfcheck(options)))
  root
    .command('build')
    .description(
      'compile the native addon where no prebuilt one fits (needs CMake, make and a C++20 compiler)',
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
      process.exitCode = error.exitCode === 0 ? 0 : 2 // commander has already printed the error
      return
    }
    if (process.argv.includes('--json'))
      process.stderr.write(`${JSON.stringify({ error: errorJson(error) })}\n`)
    else process.stderr.write(`clip-native: ${errorLine(error)}\n`)
    process.exitCode = (error as { code?: string }).code === 'ERR_CLIP_INPUT' ? 2 : 1
  }
}

void main()
