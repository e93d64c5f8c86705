/** Zero-shot classification: labels encoded once, pictures scored against them. */

import { binding, fromNative } from './binding.js'
import type { Call } from './calls.js'
import type { Embeddings } from './embeddings.js'
import type { Loaded } from './encode.js'
import { encodeImages, type ImageList, imageList } from './encode-image.js'
import { type TokenizeOptions, tokenizeOptionNames } from './encode-text.js'
import { argumentError } from './errors.js'
import type { ImageInput } from './image/input.js'
import { callback, checkOptions, checkSignal, integer, oneOf } from './options.js'
import { classEmbeddings, type Template } from './prompts.js'
import { kernelBackend, type ScoreKind } from './similarity.js'
import { Slices } from './slices.js'
import { inOrderAhead } from './stream.js'

/** One class: its name, or several names of it (its predictions then carry the first). */
export type Label = string | readonly string[]

/** What a prediction of this label is called. */
export type LabelOf<L extends Label> = L extends string
  ? L
  : L extends readonly [infer First extends string, ...unknown[]]
    ? First
    : string

export interface Prediction<T extends string = string> {
  label: T
  /** Probability over all labels, unless `as` says otherwise. */
  score: number
  /** Which label, from 0. */
  index: number
}

export interface ClassifierOptions extends TokenizeOptions {
  /** Texts with `{}` for the label, or functions of it; default the label as it is. See `templates`. */
  templates?: Template | readonly Template[]
  signal?: AbortSignal
  /** Called with how many texts (labels x templates) are encoded. */
  onProgress?: (progress: { done: number; total: number }) => void
}

export interface ClassifyOptions {
  /** How many labels to return, the best first; default 5, at most all. */
  topK?: number
  /** What the score is; default 'probability' over all labels, whatever topK. */
  as?: ScoreKind
  signal?: AbortSignal
}

/** One picture of a stream: its predictions, or why there are none. */
export type StreamItem<T extends string> =
  | { index: number; image: ImageInput; predictions: Prediction<T>[]; error?: undefined }
  | { index: number; image: ImageInput; predictions?: undefined; error: Error & { code: string } }

interface CheckedClassify {
  k: number
  as: ScoreKind
  signal: AbortSignal | undefined
}

/** Labels ready to classify with. Made by `clip.classifier`; lives as long as its model. */
export class Classifier<T extends string = string> {
  readonly labels: readonly T[]
  /** (labels, embedDim), rows of length 1. */
  readonly embeddings: Embeddings
  readonly #loaded: Loaded

  private constructor(loaded: Loaded, labels: readonly T[], embeddings: Embeddings) {
    this.#loaded = loaded
    this.labels = Object.freeze([...labels])
    this.embeddings = embeddings
  }

  /** @internal */
  static async create<L extends Label>(
    loaded: Loaded,
    labels: readonly L[],
    options: ClassifierOptions | undefined,
  ): Promise<Classifier<LabelOf<L>>> {
    const o = checkOptions(options, ['templates', 'signal', 'onProgress', ...tokenizeOptionNames])
    const signal = checkSignal(o.signal)
    callback('onProgress', o.onProgress)
    if (!Array.isArray(labels) || labels.length === 0)
      throw argumentError('labels', 'be an array of one label or more', labels)
    const names = labels.map((label: Label, i) => {
      const list: readonly unknown[] = Array.isArray(label) ? label : [label]
      const bad = list.find(name => typeof name !== 'string')
      if (list.length === 0 || bad !== undefined)
        throw argumentError(`labels[${i}]`, 'be a string or an array of strings', bad ?? label)
      return list as readonly string[]
    })
    const embeddings = await classEmbeddings(loaded, names, { ...o, signal })
    return new Classifier(loaded, names.map(list => list[0]!) as LabelOf<L>[], embeddings)
  }

  /**
   * The labels that fit best, best first: an array for one picture, an array of arrays for an array of pictures.
   * Rejects as encodeImage does; a picture that can't be read rejects the call (`stream` reports it by itself).
   */
  classify(images: readonly ImageInput[], options?: ClassifyOptions): Promise<Prediction<T>[][]>
  classify(image: ImageInput, options?: ClassifyOptions): Promise<Prediction<T>[]>
  async classify(
    images: ImageInput | readonly ImageInput[],
    options?: ClassifyOptions,
  ): Promise<Prediction<T>[] | Prediction<T>[][]> {
    const checked = this.#check(options)
    const list = imageList(this.#loaded, images)
    const all = await this.#loaded.calls.run(checked.signal, call => this.#score(call, list, checked))
    return list.single && all.length === 1 ? all[0]! : all
  }

  /**
   * Classifies pictures as they come, in their order, at most 2 x threads of them ahead of the reader. A picture that
   * can't be read is an item with `error`; the stream goes on. Leaving the loop stops the source.
   */
  async *stream(
    source: AsyncIterable<ImageInput> | Iterable<ImageInput>,
    options?: ClassifyOptions,
  ): AsyncGenerator<StreamItem<T>, void, void> {
    const checked = this.#check(options)
    if (
      source === null ||
      typeof source !== 'object' ||
      !(Symbol.asyncIterator in source || Symbol.iterator in source)
    )
      throw argumentError('source', 'be an iterable of pictures', source)
    const call = this.#loaded.calls.enter(checked.signal)
    try {
      yield* inOrderAhead(source, 2 * this.#loaded.model.threads, checked.signal, (image, index) =>
        this.#item(call, image, index, checked),
      )
    } finally {
      call.cancel()
      call.close()
    }
  }

  async #item(
    call: Call,
    image: ImageInput,
    index: number,
    checked: CheckedClassify,
  ): Promise<StreamItem<T>> {
    try {
      const [predictions] = await this.#score(call, imageList(this.#loaded, image), checked)
      return { index, image, predictions: predictions! }
    } catch (thrown) {
      const error = thrown as Error & { code?: string }
      // About this picture: an item. Anything else (abort, dispose, memory) ends the stream.
      if (error?.code !== 'ERR_CLIP_IMAGE' && error?.code !== 'ERR_CLIP_INPUT') throw thrown
      return { index, image, error: error as Error & { code: string } }
    }
  }

  #check(options: ClassifyOptions | undefined): CheckedClassify {
    const o = checkOptions(options, ['topK', 'as', 'signal'])
    const signal = checkSignal(o.signal)
    const topK = integer('topK', o.topK ?? 5, 1)
    const as = oneOf('as', o.as ?? 'probability', ['probability', 'logit', 'cosine'])
    return { k: Math.min(topK, this.labels.length), as, signal }
  }

  async #score(call: Call, list: ImageList, { k, as }: CheckedClassify): Promise<Prediction<T>[][]> {
    const { model, spec } = this.#loaded
    const encoded = await encodeImages(this.#loaded, call, list)
    const rows = encoded.shape[0]
    if (rows === 0) return []
    const index = new Int32Array(rows * k)
    const value = new Float32Array(rows * k)
    await fromNative(() =>
      binding().kernels.cosineTopK({
        queries: encoded.data,
        classes: this.embeddings.data,
        index,
        value,
        rows,
        classCount: this.labels.length,
        dim: spec.embedDim,
        k,
        logitScale: spec.logitScale,
        as,
        threads: model.threads,
        backend: kernelBackend(this.#loaded),
      }),
    )
    call.signal?.throwIfAborted()
    const slices = new Slices()
    const all: Prediction<T>[][] = []
    for (let r = 0; r < rows; r++) {
      const one: Prediction<T>[] = []
      for (let j = r * k; j < (r + 1) * k; j++)
        one.push({ label: this.labels[index[j]!]!, score: value[j]!, index: index[j]! })
      all.push(one)
      if (slices.due()) await slices.pause(call.signal)
    }
    return all
  }
}
