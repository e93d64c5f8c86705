/** Labelled images to learn from, checked and encoded. */

import { allocate } from '../base/allocate.js'
import { argumentError, got } from '../base/errors.js'
import { checkOptions, listOf } from '../base/options.js'
import type { Steps } from '../base/slices.js'
import type { Call } from '../encode/admission.js'
import { checkEmbeddings, type Embeddings, isEmbeddings } from '../encode/embeddings.js'
import { type CallSettings, encodeImages, imageList } from '../encode/image.js'
import type { Loaded } from '../encode/loaded-model.js'
import { checkEncode } from '../encode/result.js'
import type { ImageInput } from '../image/input.js'

/** Labelled images: `labels[i]` is the label of `images[i]`. */
export interface Examples<T extends string = string> {
  /** Images, or the result of encodeImage with the `output` and `normalize` that the method expects. */
  images: readonly ImageInput[] | Embeddings
  /** One label per image, in the same order. */
  labels: readonly T[]
}

export interface CheckedExamples {
  images: readonly ImageInput[] | Embeddings
  labels: readonly string[]
}

export function checkExamples(field: string, value: unknown): CheckedExamples {
  const { images, labels } = checkOptions(value as Examples, ['images', 'labels'], field) as Partial<Examples>
  if (value === undefined) throw argumentError(field, 'be { images, labels }', value)
  const checked = isEmbeddings(images)
    ? checkEmbeddings(`${field}.images`, images, 'be rows of equal width', undefined)
    : listOf(`${field}.images`, 'be an array of images, or embeddings of them', images)
  const words = listOf(`${field}.labels`, 'be an array of strings', labels)
  const n = isEmbeddings(checked) ? checked.shape[0] : checked.length
  if (words.length !== n)
    throw argumentError(`${field}.labels`, `have ${n} elements, one for each image`, got(words.length))
  if (n === 0) throw argumentError(`${field}.images`, 'have at least one image', got('none'))
  return { images: checked as CheckedExamples['images'], labels: words as string[] }
}

/** Distinct labels in the order of their first example. All labels are checked. */
export function* classesOf(field: string, labels: readonly unknown[]): Steps<string[]> {
  const classes = new Set<string>()
  for (const [i, label] of labels.entries()) {
    if (typeof label !== 'string') throw argumentError(`${field}[${i}]`, 'be a string', label)
    classes.add(label)
    if (i % 256 === 255) yield
  }
  return [...classes]
}

/** The class of each label; throws an argument error for a label that is not a class. */
export function* owners(
  field: string,
  labels: readonly string[],
  classes: readonly string[],
): Steps<Int32Array> {
  const index = new Map<string, number>()
  for (const [i, label] of classes.entries()) {
    index.set(label, i)
    if (i % 256 === 255) yield
  }
  const list = allocate(Int32Array, 'the classes of the examples', labels.length)
  for (const [i, label] of labels.entries()) {
    if (typeof label !== 'string') throw argumentError(`${field}[${i}]`, 'be a string', label)
    const owner = index.get(label)
    if (owner === undefined) throw argumentError(`${field}[${i}]`, 'be one of the labels to learn', label)
    list[i] = owner
    if (i % 256 === 255) yield
  }
  return list
}

/** The features of each image that the scorer reads: (n, width). */
export async function featuresOf(
  loaded: Loaded,
  call: Call,
  field: string,
  images: readonly ImageInput[] | Embeddings,
  output: 'embedding' | 'pooled',
  normalize: boolean,
  width: number | undefined,
  settings: CallSettings,
  onProgress?: (progress: { done: number; total: number }) => void,
): Promise<Embeddings> {
  if (isEmbeddings(images)) {
    const expected = `be rows of ${width ?? 'one width'} values (output: '${output}')`
    return checkEmbeddings(`${field}.images`, images, expected, width)
  }
  const signal = call.signal
  const checked = checkEncode({
    output,
    normalize,
    ...(signal ? { signal } : {}),
    ...(onProgress ? { onProgress } : {}),
  })
  return (await encodeImages(loaded, call, imageList(loaded, images, settings), checked)) as Embeddings
}
