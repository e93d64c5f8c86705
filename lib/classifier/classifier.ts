/** Classification: labels are encoded or learned once, then images are scored against them. */

import { allocate, checkHeap } from '../base/allocate.js'
import { argumentError, got } from '../base/errors.js'
import { inOrder } from '../base/in-order.js'
import { callback, checkOptions, checkSignal, integer, oneOf } from '../base/options.js'
import { inSlices, Slices, type Steps } from '../base/slices.js'
import { traceMethods } from '../base/stack.js'
import { isIterable } from '../base/values.js'
import type { Call } from '../encode/admission.js'
import { checkEmbeddings, Embeddings, isEmbeddings } from '../encode/embeddings.js'
import {
  type CallSettings,
  checkCallSettings,
  type DecodeOption,
  encodeImages,
  type ImageList,
  imageList,
} from '../encode/image.js'
import type { Loaded } from '../encode/loaded-model.js'
import { checkEncode } from '../encode/result.js'
import { type TokenizeOptions, tokenizeOptionNames } from '../encode/text.js'
import type { ImageInput } from '../image/input.js'
import type { ScoreKind } from '../native/surface.js'
import { type ClassifierOrigin, writeClassifier } from './file.js'
import { checkLabels, type Label, type LabelledClass, type LabelOf } from './labels.js'
import { classEmbeddings, type Template } from './prompts.js'
import { type Best, type ClassifierKind, type Scorer, ZeroShotScorer } from './scorers.js'

/** A label and its score for one image. */
export interface Prediction<T extends string = string> {
  /** The label, as it was given. */
  label: T
  /** By default the probability over all labels; see `as`. */
  score: number
  /** Index of the label, from 0. */
  index: number
}

/** Options of `clip.classifier`. */
export interface ClassifierOptions extends TokenizeOptions {
  /** Prompt templates: texts with `{}` in place of the label, or functions of the label. Default: the label alone. See `templates`. */
  templates?: Template | readonly Template[]
  /** Aborts the call, which then rejects with the signal's reason. */
  signal?: AbortSignal
  /** Progress callback: the number of prompts (labels x templates) that have been encoded. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** Options of `classifier.classify` and `classifier.stream`. */
export interface ClassifyOptions extends DecodeOption {
  /** Number of labels to return, best first; default 5, or all with `threshold`. */
  topK?: number
  /**
   * Kind of score; default 'probability', which the model defines (`clip.info.scoring`): the 'softmax' over all labels,
   * whatever `topK` is, or the 'sigmoid' of each label. Learned classifiers use the softmax, and have no 'cosine'.
   */
  as?: ScoreKind
  /**
   * Return only labels with at least this score: none, one or several. With `as: 'cosine'` or 'logit', and in models
   * whose `scoring` is 'sigmoid', labels do not compete, so an image may have several or none. The right threshold depends on the model and the prompts: choose it on
   * examples.
   */
  threshold?: number
  /** Aborts the call, which then rejects with the signal's reason. */
  signal?: AbortSignal
}

/** One image of a stream: its predictions, or its error. */
export type StreamItem<T extends string> =
  | {
      /** Index of the image, from 0. */
      index: number
      /** The image, as the source yielded it. */
      image: ImageInput
      /** The predictions, best first. */
      predictions: Prediction<T>[]
      error?: undefined
    }
  | {
      /** Index of the image, from 0. */
      index: number
      /** The image, as the source yielded it. */
      image: ImageInput
      predictions?: undefined
      /** Why the image could not be classified. */
      error: Error & { code: string }
    }

/** Heap bytes of an object with a score and its entry in a list. */
const predictionBytes = 74
/** Rows scored at a time. */
const rowsPerWindow = 1024

interface CheckedClassify {
  k: number
  as: ScoreKind
  threshold: number | undefined
  settings: CallSettings
  signal: AbortSignal | undefined
}

function* labelsOf(classes: readonly LabelledClass[]): Steps<string[]> {
  const labels: string[] = []
  for (const { label } of classes) if (labels.push(label) % 1024 === 0) yield
  return labels
}

/** Templates that are functions are not saved. */
function* originOf(classes: readonly LabelledClass[]): Steps<ClassifierOrigin> {
  const words = function* (templates: readonly Template[]): Steps<(string | null)[]> {
    const kept: (string | null)[] = []
    for (const template of templates)
      if (kept.push(typeof template === 'string' ? template : null) % 1024 === 0) yield
    return kept
  }
  let shared: readonly Template[] = []
  const own = []
  for (const { names, templates, field } of classes) {
    if (field === 'templates') shared = templates
    own.push(field === 'templates' ? { names } : { names, templates: yield* words(templates) })
    if (own.length % 256 === 0) yield
  }
  return { templates: yield* words(shared), classes: own }
}

/** A classifier, as `clip.classifier`, `clip.linearProbe`, `clip.tipAdapter` and `clip.loadClassifier` return it. It lives as long as its model. */
export class Classifier<T extends string = string> {
  /** The labels, in the order of `Prediction.index`. */
  readonly labels: readonly T[]
  /** How it was made: 'zero-shot' from names, 'linear-probe' or 'tip-adapter' from examples. */
  readonly kind: ClassifierKind
  /** (labels, width) float32: the class embeddings, of length 1, or the weights of a linear probe. */
  readonly embeddings: Embeddings
  /** Settings and results of training, for learned classifiers: `C` and `loss`, or `alpha` and `beta`. */
  readonly settings: Readonly<Record<string, number | string>>
  readonly #loaded: Loaded
  readonly #scorer: Scorer
  readonly #origin: ClassifierOrigin

  /** @internal */
  constructor(loaded: Loaded, labels: readonly T[], scorer: Scorer, origin: ClassifierOrigin) {
    this.#loaded = loaded
    this.#scorer = scorer
    this.#origin = origin
    this.kind = scorer.kind
    this.settings = Object.freeze({ ...scorer.settings })
    this.labels = Object.freeze([...labels])
    this.embeddings = new Embeddings(scorer.classes.data, scorer.classes.shape as readonly [number, number])
  }

  /** Fingerprint of its model: see `clip.info.fingerprint`. @internal */
  get fingerprint(): string {
    return this.#loaded.checkpoint.fingerprint
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
    const classes = await inSlices(checkLabels(labels, o.templates), signal)
    const embeddings = await classEmbeddings(loaded, classes, { ...o, signal })
    const origin = await inSlices(originOf(classes), signal)
    const names = await inSlices(labelsOf(classes), signal)
    return new Classifier(loaded, names as LabelOf<L>[], new ZeroShotScorer(embeddings), origin)
  }

  /**
   * Saves the labels and the encoded or learned weights as one small safetensors file, for `clip.loadClassifier` with the
   * same model. The file is written completely or not at all. Templates that are functions are not saved, only their
   * results. Rejects with a ClipError ERR_CLIP_INPUT if the file can't be written.
   */
  async save(file: string | URL): Promise<void> {
    await writeClassifier(this.#loaded, file, this.labels, this.#scorer, this.#origin)
  }

  /**
   * Classifies images: returns the best labels, best first, as an array for one image and an array of arrays for an array
   * of images. Rejects like encodeImage; one image that can't be read rejects the whole call (see `stream`).
   *
   * Images that are already encoded can be given as the result of encodeImage: embeddings of length 1, or for a linear
   * probe the kind of features that it was trained on (by default `output: 'pooled'`).
   */
  classify(images: readonly ImageInput[] | Embeddings, options?: ClassifyOptions): Promise<Prediction<T>[][]>
  classify(image: ImageInput, options?: ClassifyOptions): Promise<Prediction<T>[]>
  async classify(
    images: ImageInput | readonly ImageInput[] | Embeddings,
    options?: ClassifyOptions,
  ): Promise<Prediction<T>[] | Prediction<T>[][]> {
    const checked = this.#check(options)
    if (isEmbeddings(images)) {
      const { output, width } = this.#scorer.features
      const rows = checkEmbeddings(
        'images',
        images,
        `be rows of ${width} values (output: '${output}')`,
        width,
      )
      return this.#loaded.calls.run(checked.signal, call => this.#predict(call, rows, checked))
    }
    const list = imageList(this.#loaded, images, checked.settings)
    const all = await this.#loaded.calls.run(checked.signal, call => this.#score(call, list, checked))
    return list.single && all.length === 1 ? all[0]! : all
  }

  /**
   * Classifies images from an iterable, in order, at most 2 x threads ahead of the consumer. An image that can't be read
   * yields an item with `error`, and the stream continues. Leaving the loop stops the source.
   */
  async *stream(
    source: AsyncIterable<ImageInput> | Iterable<ImageInput>,
    options?: ClassifyOptions,
  ): AsyncGenerator<StreamItem<T>, void, void> {
    const checked = this.#check(options)
    if (!isIterable(source)) throw argumentError('source', 'be an iterable of images', source)
    const call = this.#loaded.calls.enter(checked.signal)
    try {
      const options = {
        ahead: 2 * this.#loaded.model.threads,
        signal: checked.signal,
        cancel: call.cancel,
      }
      yield* inOrder(source, options, (image, index) => this.#item(call, image, index, checked))
    } finally {
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
      const [predictions] = await this.#score(call, imageList(this.#loaded, image, checked.settings), checked)
      return { index, image, predictions: predictions! }
    } catch (thrown) {
      const error = thrown as Error & { code?: string }
      // An error of this image becomes an item. Any other error (abort, dispose, memory) ends the stream.
      if (error?.code !== 'ERR_CLIP_IMAGE' && error?.code !== 'ERR_CLIP_INPUT') throw thrown
      return { index, image, error: error as Error & { code: string } }
    }
  }

  #check(options: ClassifyOptions | undefined): CheckedClassify {
    const o = checkOptions(options, ['topK', 'as', 'threshold', 'decode', 'signal'])
    const signal = checkSignal(o.signal)
    const { threshold } = o
    if (threshold !== undefined && (typeof threshold !== 'number' || Number.isNaN(threshold)))
      throw argumentError('threshold', 'be a number', threshold)
    const topK = integer('topK', o.topK ?? (threshold === undefined ? 5 : this.labels.length), 1)
    const as = oneOf('as', o.as ?? 'probability', ['probability', 'logit', 'cosine'])
    if (as === 'cosine' && this.kind !== 'zero-shot')
      throw argumentError('as', `be 'probability' or 'logit' for a ${this.kind}, which has no cosines`, as)
    return { k: Math.min(topK, this.labels.length), as, threshold, settings: checkCallSettings(o), signal }
  }

  /** Works on windows of rows, because a scorer may need memory for each row and label. */
  async #best(features: Float32Array, rows: number, k: number, as: ScoreKind, call: Call): Promise<Best> {
    if (rows <= rowsPerWindow) return this.#scorer.best(this.#loaded, features, rows, k, as, call.signal)
    const { width } = this.#scorer.features
    const index = allocate(Int32Array, 'the predictions', rows, k)
    const value = allocate(Float32Array, 'the predictions', rows, k)
    for (let from = 0; from < rows; from += rowsPerWindow) {
      const n = Math.min(rowsPerWindow, rows - from)
      if (features.length !== rows * width)
        throw argumentError(
          'images',
          'keep their memory until the call settles',
          got('an array that was transferred'),
        )
      const window = features.subarray(from * width, (from + n) * width)
      const best = await this.#scorer.best(this.#loaded, window, n, k, as, call.signal)
      index.set(best.index, from * k)
      value.set(best.value, from * k)
    }
    return { index, value }
  }

  async #score(call: Call, list: ImageList, how: CheckedClassify): Promise<Prediction<T>[][]> {
    const { output, normalize } = this.#scorer.features
    const checked = checkEncode({ output, normalize, ...(call.signal ? { signal: call.signal } : {}) })
    return this.#predict(call, await encodeImages(this.#loaded, call, list, checked), how)
  }

  async #predict(
    call: Call,
    encoded: Pick<Embeddings<readonly number[]>, 'data' | 'shape'>,
    { k, as, threshold = Number.NEGATIVE_INFINITY }: CheckedClassify,
  ): Promise<Prediction<T>[][]> {
    const rows = encoded.shape[0]!
    if (rows === 0) return []
    if (threshold === Number.NEGATIVE_INFINITY) checkHeap('the predictions', predictionBytes, rows, k)
    const { index, value } = await this.#best(encoded.data, rows, k, as, call)
    call.signal?.throwIfAborted()
    const slices = new Slices()
    if (threshold > Number.NEGATIVE_INFINITY) {
      let kept = 0
      for (let j = 0; j < value.length; j++) {
        if (!(value[j]! < threshold)) kept++
        if (j % 4096 === 4095 && slices.due()) await slices.pause(call.signal)
      }
      checkHeap('the predictions', predictionBytes, kept)
    }
    const all: Prediction<T>[][] = []
    for (let r = 0; r < rows; r++) {
      const one: Prediction<T>[] = []
      for (let j = r * k; j < (r + 1) * k; j++) {
        if (!(value[j]! < threshold))
          one.push({ label: this.labels[index[j]!]!, score: value[j]!, index: index[j]! })
        if (j % 256 === 255 && slices.due()) await slices.pause(call.signal)
      }
      all.push(one)
      if (slices.due()) await slices.pause(call.signal)
    }
    return all
  }
}
traceMethods(Classifier)
