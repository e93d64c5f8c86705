/** The state of an evaluation: its checked options, and the samples. */

import { abortable } from '../base/abort.js'
import { argumentError, ClipError } from '../base/errors.js'
import { isIterable } from '../base/values.js'
import type { Classifier } from '../classifier/classifier.js'
import type { Label } from '../classifier/labels.js'
import type { Template } from '../classifier/prompts.js'
import type { Clip } from '../clip.js'
import type { DecodeMode } from '../image/decode-mode.js'
import type { LeftOutList } from '../image/left-out.js'
import { checkSample } from './dataset.js'
import type { Evaluated, EvaluationTask } from './reports.js'
import type { Dataset, Sample } from './samples.js'

export interface EvaluationCall {
  clip: Clip
  dataset: Dataset
  task: EvaluationTask
  classifier: Classifier | undefined
  labels: readonly Label[] | undefined
  templates: Template | readonly Template[] | undefined
  shots: number | undefined
  seed: number
  C: number | undefined
  limit: number
  decode: DecodeMode | undefined
  signal: AbortSignal | undefined
  onProgress: (progress: { stage: 'texts' | 'learn' | 'test'; done: number; total: number }) => void
  failed: Evaluated['failed']
  leftOut: LeftOutList
}

export const signalOf = (call: EvaluationCall) => (call.signal ? { signal: call.signal } : {})
export const decodeOf = ({ decode }: { decode: DecodeMode | undefined }) =>
  decode === undefined ? {} : { decode }
export const templatesOf = (call: EvaluationCall) =>
  call.templates === undefined ? {} : { templates: call.templates }

/** Class numbers are used as names only if the caller asks for it, because a model knows nothing about a class named "3". */
function needName(call: EvaluationCall, { numbered, label, captions, name }: Sample): void {
  const isTold = call.labels !== undefined || call.classifier !== undefined
  if (!numbered || isTold || (call.task === 'retrieval' && captions)) return
  throw unnamed(call.dataset.name, name, label)
}

export function unnamed(dataset: string, name: string | undefined, label: string): ClipError {
  return new ClipError(
    'ERR_CLIP_INPUT',
    `${dataset}: the class of ${name ?? 'a sample'} is the number ${label}, which is not a name: give the names with \`classNames\` ` +
      "(one name per line, as in CLIP_benchmark's classnames.txt), or 'numbers' to use the numbers as names",
    { file: dataset, field: 'classNames' },
  )
}

/** Yields the checked samples until the signal is aborted. With `notes`, files that were left out are recorded. */
export async function* samplesOf(call: EvaluationCall, notes = false): AsyncGenerator<Sample> {
  let index = 0
  const all = call.dataset.samples(call.signal, notes ? call.leftOut.add : () => {})
  if (!isIterable(all)) throw argumentError('dataset.samples', 'return an iterable of samples', all)
  for await (const sample of abortable(all, call.signal)) {
    needName(call, checkSample(sample, `dataset[${index}]`))
    yield sample
    if (++index >= call.limit) return
  }
}

export function unreadable(call: EvaluationCall): ClipError {
  const first = call.failed[0]
  return new ClipError(
    'ERR_CLIP_IMAGE',
    `no image of ${call.dataset.name} could be read: ${first?.message ?? 'there is none'}`,
    { file: call.dataset.name },
  )
}
