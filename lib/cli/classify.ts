import { argumentError, got, printable } from '../base/errors.js'
import type { Classifier, ClassifyOptions, Clip } from '../index.js'
import { untilInterrupted } from './interrupt.js'
import { type LabelOptions, labelsOf } from './labels.js'
import { loadFor, type ModelOptions, number, progress } from './model.js'
import { bold, chart, dim, errorJson, errorLine, print, scores } from './output.js'

export interface ClassifyCommand extends ModelOptions, LabelOptions {
  classifier?: string
  save?: string
  as: string
  threshold?: string
  top?: string
  json?: boolean
}

/** Reads the classifier from a file, or encodes the labels, with a progress bar because that may take long. */
async function classifierFor(clip: Clip, options: ClassifyCommand, signal: AbortSignal): Promise<Classifier> {
  const { labels, templates } = await labelsOf(options)
  if (options.classifier !== undefined) {
    if (labels || templates)
      throw argumentError('--classifier', 'stand alone: its labels are in the file', options.classifier)
    return clip.loadClassifier(options.classifier, { signal })
  }
  if (!labels)
    throw argumentError(
      '--labels',
      'be given (or --labels-file, --prompt-set or --classifier)',
      options.labels,
    )
  let bar: ReturnType<typeof progress> | undefined
  return clip
    .classifier(labels, {
      ...(templates ? { templates } : {}),
      signal,
      onProgress({ done, total }) {
        // No bar for work that fits in one window.
        if (done === total && !bar) return
        bar ??= progress(total, 'prompts', true)
        bar.update(done)
      },
    })
    .finally(() => bar?.stop())
}

function classifyOptions({ top, as, threshold }: ClassifyCommand): ClassifyOptions {
  const topK = number(top)
  const least = threshold === undefined || threshold.trim() === '' ? undefined : Number(threshold)
  if (threshold !== undefined && (least === undefined || Number.isNaN(least)))
    throw argumentError('--threshold', 'be a number', threshold)
  return {
    as: as as NonNullable<ClassifyOptions['as']>,
    ...(topK === undefined ? {} : { topK }),
    ...(least === undefined ? {} : { threshold: least }),
  }
}

/** Exit code: 1 if an image could not be read. */
export async function classify(images: string[], options: ClassifyCommand): Promise<number> {
  if (images.length === 0 && options.save === undefined)
    throw argumentError('image', 'be at least one file (or none, with --save)', got('none'))
  return untilInterrupted(signal => classifyAll(images, options, signal))
}

async function classifyAll(images: string[], options: ClassifyCommand, signal: AbortSignal): Promise<number> {
  const how = { ...classifyOptions(options), signal }
  // Without a terminal, each line on stderr is a failed image, so that scripts can count them.
  const note = images.length > 0 && process.stderr.isTTY
  await using clip = await loadFor(options, { signal, note })
  const classifier = await classifierFor(clip, options, signal)
  if (options.save !== undefined) await classifier.save(options.save)
  const bar = progress(images.length, 'images')
  let failed = 0
  let done = 0
  try {
    for await (const item of classifier.stream(images, how)) {
      const image = images[item.index]!
      if (item.error) failed++
      if (options.json)
        await print(
          JSON.stringify(
            item.error ? { image, error: errorJson(item.error) } : { image, predictions: item.predictions },
          ),
        )
      else if (item.error) process.stderr.write(`clip-native: ${errorLine(item.error)}\n`)
      else {
        const { predictions } = item
        const shown =
          predictions.length === 0
            ? dim('  no label reaches the threshold')
            : how.as === 'probability'
              ? chart(predictions)
              : scores(predictions)
        await print(`${done > 0 ? '\n' : ''}${bold(printable(image))}\n${shown}`)
      }
      bar.update(++done)
    }
  } finally {
    bar.stop()
  }
  return failed > 0 ? 1 : 0
}
