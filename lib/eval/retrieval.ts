/** Measures retrieval in both directions: texts by images, and images by texts. */

import { untilAborted } from '../base/abort.js'
import { argumentError, got } from '../base/errors.js'
import { cosineTopK } from '../kernels/cosine.js'
import { type EvaluationCall, samplesOf, signalOf, templatesOf, unreadable } from './call.js'
import { featuresOfSamples } from './features.js'
import { distinctImages, only } from './images.js'
import { recall } from './metrics.js'
import type { RetrievalReport } from './reports.js'

export async function retrieval(call: EvaluationCall): Promise<RetrievalReport> {
  const { clip } = call
  const { embedDim: dim } = clip.info
  const { first, captions: all } = await distinctImages(samplesOf(call, true))
  if (first.size === 0) throw argumentError('dataset', 'have at least one sample', got('none'))
  const { images, numbers } = await featuresOfSamples(clip, only(samplesOf(call), first), {
    output: 'embedding',
    count: first.size,
    decode: call.decode,
    signal: call.signal,
    failed: (name, { message }) => call.failed.push({ name, message }),
    progress: done => call.onProgress({ stage: 'test', done, total: first.size }),
  })
  const rows = numbers.length
  if (rows === 0) throw unreadable(call)
  const captions = numbers.map(image => all[image]!)
  const texts = [...new Set(captions.flat())]
  const indices = new Map(texts.map((text, i) => [text, i]))
  const belonging = captions.map(own => new Set(own.map(text => indices.get(text)!)))
  const { embeddings } = await clip.classifier(texts, {
    ...templatesOf(call),
    ...signalOf(call),
    onProgress: p => call.onProgress({ stage: 'texts', ...p }),
  })
  const found = images.data
  const search = async (queries: Float32Array, n: number, classes: Float32Array, of: number) => {
    const k = Math.min(10, of)
    const arguments_ = {
      queries,
      rows: n,
      dim,
      classes,
      classCount: of,
      k,
      as: 'cosine' as const,
    }
    const { index } = await untilAborted(cosineTopK(arguments_), call.signal)
    return { index, k }
  }
  const toText = await search(found, rows, embeddings.data, texts.length)
  const toImage = await search(embeddings.data, texts.length, found, rows)
  return {
    task: 'retrieval',
    dataset: call.dataset.name,
    fingerprint: clip.info.fingerprint,
    images: rows,
    texts: texts.length,
    imageToText: recall(toText.index, rows, toText.k, (image, text) => belonging[image]!.has(text)),
    textToImage: recall(toImage.index, texts.length, toImage.k, (text, image) => belonging[image]!.has(text)),
    failed: call.failed,
    ...(call.leftOut.count > 0 ? { leftOut: call.leftOut.toJSON() } : {}),
  }
}
