/** Queries of a store: a text, an image, both, or an existing embedding. */

import { argumentError, got } from '../base/errors.js'
import { checkOptions } from '../base/options.js'
import { Slices } from '../base/slices.js'
import { isArray, isObject } from '../base/values.js'
import { checkEmbeddings, type Embeddings, isEmbeddings } from '../encode/embeddings.js'
import { encodeImage } from '../encode/image.js'
import type { Loaded } from '../encode/loaded-model.js'
import { kernelBackend } from '../encode/loaded-model.js'
import { encodeText } from '../encode/text.js'
import { type ImageInput, isOneImage } from '../image/input.js'
import { cosineTopK } from '../kernels/cosine.js'
import type { Matrix } from '../kernels/matrix.js'
import type { Rows } from './numbers.js'

/** A text, an image, or both in one query. */
export interface BothQuery {
  /** The text. */
  text?: string
  /** The image. */
  image?: ImageInput
  /** With both: weight of the text, from 0 to 1; the image has the rest. Default 0.5. */
  weight?: number
}

/** A string is a text; for an image file pass `{ image: path }`. Embeddings must have one row. */
export type StoreQuery = string | Exclude<ImageInput, string> | Embeddings | BothQuery

/** The current rows that are most similar to the query, best first: at most `topK`. */
export async function bestRows(
  loaded: Loaded,
  queries: Float32Array,
  classes: Matrix,
  unused: Pick<Rows, 'has' | 'size'>,
  topK: number,
  signal: AbortSignal | undefined,
): Promise<{ row: number; score: number }[]> {
  // Ask for more, so that enough are left after replaced rows are removed.
  const k = Math.min(classes.rows, topK + unused.size)
  const backend = kernelBackend(loaded) as 'reference' | undefined
  const { threads } = loaded.model
  const best = await cosineTopK({ queries, classes, k, as: 'cosine', threads, backend, signal })
  const found: { row: number; score: number }[] = []
  const slices = new Slices()
  for (let i = 0; i < k && found.length < topK; i++) {
    const row = best.index[i]!
    if (!unused.has(row)) found.push({ row, score: best.value[i]! })
    if (slices.due()) await slices.pause(signal)
  }
  return found
}

/** (embedDim): weight * text + (1 - weight) * image, each of length 1. */
export async function queryVector(
  loaded: Loaded,
  query: StoreQuery,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const { embedDim } = loaded.spec
  if (isEmbeddings(query))
    return checkEmbeddings('query', query, `be one embedding of ${embedDim} values`, embedDim, 1).data
  if (typeof query === 'string') return (await encodeText(loaded, query, { signal })).data
  if (isOneImage(query)) return (await encodeImage(loaded, query as ImageInput, { signal })).data
  if (!isObject(query) || isArray(query))
    throw argumentError('query', 'be a text, an image, an embedding or { text, image }', query)
  const { text, image, weight = 0.5 } = checkOptions(query as BothQuery, ['text', 'image', 'weight'], 'query')
  if (text === undefined && image === undefined)
    throw argumentError('query', 'have `text`, `image` or both', got('neither'))
  if (typeof weight !== 'number') throw argumentError('query.weight', 'be a number from 0 to 1', weight)
  if (!(weight >= 0 && weight <= 1))
    throw argumentError('query.weight', 'be a number from 0 to 1', weight, 'range')
  if (text !== undefined && typeof text !== 'string') throw argumentError('query.text', 'be a string', text)
  if (image !== undefined && !isOneImage(image)) throw argumentError('query.image', 'be one image', image)
  const [t, i] = await Promise.all([
    text === undefined ? undefined : encodeText(loaded, text, { signal }),
    image === undefined ? undefined : encodeImage(loaded, image, { signal }),
  ])
  if (!t || !i) return (t ?? i)!.data
  return t.data.map((value, j) => weight * value + (1 - weight) * i.data[j]!)
}
