import type { Dtype } from './base/dtypes.js'
import { argumentError } from './base/errors.js'
import { checkOptions, checkSignal, listOf } from './base/options.js'
import { traceMethods } from './base/stack.js'
import { isArray, isTypedArray } from './base/values.js'
import type { PackCacheUse } from './checkpoint/pack-cache.js'
import type { NamedCheckpoint } from './checkpoint/spec.js'
import { Classifier, type ClassifierOptions } from './classifier/classifier.js'
import { readClassifier } from './classifier/file.js'
import type { Label, LabelOf } from './classifier/labels.js'
import { type SimilarityOptions, similarity } from './classifier/similarity.js'
import { Calls } from './encode/admission.js'
import type { Embeddings, EmbeddingsOf } from './encode/embeddings.js'
import { type BackgroundOption, type EncodeImageOptions, encodeImage, preprocess } from './encode/image.js'
import type { Loaded } from './encode/loaded-model.js'
import type { Output } from './encode/result.js'
import { type EncodeTextOptions, encodeText, needTextTower, type TokenizeOptions } from './encode/text.js'
import { type Tokens, tokenize } from './encode/tokenize.js'
import type { PictureSettings } from './image/decode.js'
import { DecodeGate } from './image/gate.js'
import type { ImageInput, Preprocessed } from './image/input.js'
import type { Adapter, AdaptOptions, Pairs } from './learn/adapt.js'
import type { Examples } from './learn/examples.js'
import type { LinearProbeOptions } from './learn/linear-probe.js'
import type { TipAdapterOptions } from './learn/tip-adapter.js'
import type { ModelSpec, Tower } from './native/spec.js'
import type { NativeModel } from './native/surface.js'
import type { Store } from './store/store.js'
import type { OpenStoreOptions } from './store/types.js'
import type { Tokenizer } from './tokenizer/tokenizer.js'

/** What a loaded model is and runs on. */
export interface ClipInfo {
  /** Width of the joint space; 0 where the checkpoint has no projection into one: then only `output: 'pooled'` and 'tokens' work. */
  embedDim: number
  /** Side of the image tower's input in pixels; undefined without that tower. */
  imageSize: number | undefined
  /** Tokens a text may have, start and end included; undefined without that tower. */
  contextLength: number | undefined
  /** What cosines are multiplied with before the softmax: 100 for OpenAI's models. NaN where the checkpoint has none. */
  logitScale: number
  /** Encoders that are loaded. */
  towers: Tower[]
  /** Where it runs. */
  device: 'cpu' | 'cuda' | 'reference'
  /** Instruction sets in use: `avx512+vnni+bf16+amx`. */
  backend: string
  /** What it computes in. */
  dtype: Dtype
  /** Threads of one pass. */
  threads: number
  /**
   * Bytes of the packed weights. In float32 a matrix whose every weight is a float16 number (OpenAI's are, in every file
   * that holds them) takes 2 bytes a weight and gives the same results as with 4.
   */
  weightBytes: number
  /**
   * What `packCache: true` came to: 'mapped' from the cache, 'written' there for the next start, or 'failed' (a warning
   * says why). 'off' without it.
   */
  packCache: PackCacheUse
  /**
   * Names the weights by their values, and the configuration: equal wherever the same numbers come from, whatever the
   * file, its format and dtype.
   */
  fingerprint: string
  /** What the checkpoint holds beside the model, which is not used: `optimizer.* (412)`, `classifier.weight`. */
  ignored?: readonly string[]
}

/** A loaded CLIP. Made by `load`. Every method that returns a promise reports mistakes by rejecting. */
export class Clip implements AsyncDisposable {
  /** What this model is and runs on. */
  readonly info: Readonly<ClipInfo>
  readonly #loaded: Loaded

  /** @internal */
  constructor(parts: {
    model: NativeModel
    spec: ModelSpec
    checkpoint: NamedCheckpoint
    tokenizer: Tokenizer | undefined
    dtype: Dtype
    maxQueue: number
    pictures: PictureSettings
  }) {
    const { model, spec, checkpoint, tokenizer, dtype, maxQueue, pictures } = parts
    this.#loaded = {
      model,
      spec,
      checkpoint,
      pictures,
      ...(tokenizer ? { tokenizer } : {}),
      calls: new Calls(model, maxQueue),
      gate: new DecodeGate(model.threads),
    }
    this.info = Object.freeze({
      embedDim: model.shapes.embedDim,
      imageSize: model.shapes.image?.size,
      contextLength: model.shapes.text?.contextLength,
      logitScale: spec.scoring?.scale ?? Number.NaN,
      towers: (['image', 'text'] as const).filter(tower => spec[tower]),
      device: model.device,
      backend: model.active,
      dtype,
      threads: model.threads,
      weightBytes: model.weightBytes,
      packCache: model.packCache.use,
      fingerprint: checkpoint.fingerprint,
      ...(checkpoint.ignored.length > 0 ? { ignored: Object.freeze([...checkpoint.ignored]) } : {}),
    })
  }

  /**
   * OpenAI's `preprocess`: resized, cropped and normalized planes (n, 3, size, size), exactly as Pillow and torchvision
   * make them. `encodeImage` takes the result in place of images.
   *
   * Rejects with ClipError ERR_CLIP_IMAGE (`index` says which image), ERR_CLIP_CONFIG without an image tower,
   * ERR_CLIP_DISPOSED; with TypeError or RangeError for arguments that can't be; with `signal.reason`.
   */
  async preprocess(
    images: ImageInput | readonly ImageInput[],
    options?: { signal?: AbortSignal } & BackgroundOption,
  ): Promise<Preprocessed> {
    return preprocess(this.#loaded, images, options)
  }

  /**
   * Embeds images, (n, embedDim) float32, rows of length 1 unless `normalize: false` (as OpenAI's encode_image).
   * `output: 'pooled'` gives (n, width) and 'tokens' (n, tokens, width), as they are unless `normalize: true`.
   * A single image gives n = 1. Decoding runs off the JavaScript thread, at most 2 x threads images ahead.
   *
   * Rejects with ClipError ERR_CLIP_IMAGE (`index` says which image), ERR_CLIP_BUSY, ERR_CLIP_DISPOSED; with TypeError
   * or RangeError for arguments that can't be; with `signal.reason`.
   */
  async encodeImage<O extends Output = 'embedding'>(
    images: ImageInput | readonly ImageInput[],
    options?: EncodeImageOptions<O>,
  ): Promise<EmbeddingsOf<O>> {
    return encodeImage(this.#loaded, images, options)
  }

  /**
   * Embeds texts, (n, embedDim) float32, rows of length 1 unless `normalize: false` (as OpenAI's encode_text).
   * `output: 'pooled'` gives (n, width) and 'tokens' (n, tokens, width), as they are unless `normalize: true`.
   *
   * Rejects with ClipError ERR_CLIP_TEXT_TOO_LONG unless `truncate: true`, and as encodeImage does.
   */
  async encodeText<O extends Output = 'embedding'>(
    texts: string | readonly string[],
    options?: EncodeTextOptions<O>,
  ): Promise<EmbeddingsOf<O>> {
    return encodeText(this.#loaded, texts, options)
  }

  /**
   * Scores of every image against every text, (images, texts) float32: probabilities over the texts unless `as` and
   * `over` say otherwise (Radford et al., 2021, figure 3: logit = logitScale * cosine). Embeddings that are at hand can
   * stand for either side.
   *
   * Rejects as encodeImage and encodeText do.
   */
  async similarity(
    images: ImageInput | readonly ImageInput[] | Embeddings,
    texts: string | readonly string[] | Embeddings,
    options?: SimilarityOptions,
  ): Promise<Embeddings<readonly [images: number, texts: number]>> {
    return similarity(this.#loaded, images, texts, options)
  }

  /**
   * Encodes labels once, to classify any number of images with. A label is a string, or several names of one class.
   * Every name goes through every template; a class is the mean of its normalized embeddings, scaled to length 1, as in
   * the CLIP paper (section 3.1.4) and open_clip's build_zero_shot_classifier.
   *
   * Rejects as encodeText does, and with TypeError or RangeError for labels and templates that can't be.
   */
  async classifier<const L extends Label>(
    labels: readonly L[],
    options?: ClassifierOptions,
  ): Promise<Classifier<LabelOf<L>>> {
    return Classifier.create(this.#loaded, labels, options)
  }

  /**
   * Reads a classifier that `save` wrote. Rejects with ClipError ERR_CLIP_CHECKPOINT when the file is damaged or is none,
   * ERR_CLIP_MODEL_MISMATCH when it was made with other weights.
   */
  async loadClassifier(file: string | URL, options?: { signal?: AbortSignal }): Promise<Classifier> {
    const signal = checkSignal(checkOptions(options, ['signal']).signal)
    this.#loaded.calls.throwIfDisposed()
    const { labels, scorer, origin } = await readClassifier(this.#loaded, file, signal)
    return new Classifier(this.#loaded, labels, scorer, origin)
  }

  /**
   * Linear probe: a classifier learned from labelled images by multinomial logistic regression on the image tower's
   * features, as in section 3.2 of the CLIP paper and to scikit-learn's optimum.
   *
   * Memory grows with the images: four times 4 bytes for each number of their features (360 MB in all for 50 000
   * images of 512 numbers and 100 labels).
   *
   * Rejects as encodeImage does, and with TypeError or RangeError for examples that can't be.
   */
  async linearProbe<const T extends string>(
    examples: Examples<T>,
    options?: LinearProbeOptions,
  ): Promise<Classifier<T>> {
    return (require('./learn/linear-probe.js') as typeof import('./learn/linear-probe.js')).linearProbe(
      this.#loaded,
      examples,
      options,
    )
  }

  /**
   * Tip-Adapter: class names and a cache of a few labelled images; training-free, or with `fineTune` its keys trained.
   *
   * Rejects as encodeImage does, and with TypeError or RangeError for examples that can't be.
   */
  async tipAdapter(examples: Examples, options?: TipAdapterOptions): Promise<Classifier> {
    return (require('./learn/tip-adapter.js') as typeof import('./learn/tip-adapter.js')).tipAdapter(
      this.#loaded,
      examples,
      options,
    )
  }

  /**
   * Trains both projections and the temperature on pairs of images and texts, everything below them frozen, with the
   * contrastive loss of the paper. The model itself stays as it is: save the result and `load` it as `adapter`.
   *
   * Rejects as encodeImage and encodeText do, and with TypeError or RangeError for pairs that can't be.
   */
  async adapt(pairs: Pairs, options?: AdaptOptions): Promise<Adapter> {
    return (require('./learn/adapt.js') as typeof import('./learn/adapt.js')).adapt(
      this.#loaded,
      pairs,
      options,
    )
  }

  /**
   * Opens a folder of embeddings on disk: `store.add(images)` and `store.search('words')`.
   *
   * Rejects with ERR_CLIP_INPUT when there is none (`create: true` makes one), ERR_CLIP_CHECKPOINT naming file and field
   * when it is damaged, ERR_CLIP_MODEL_MISMATCH when it was made with other weights.
   */
  async openStore(folder: string | URL, options?: OpenStoreOptions): Promise<Store> {
    return (require('./store/store.js') as typeof import('./store/store.js')).Store.open(
      this.#loaded,
      folder,
      options,
    )
  }

  /**
   * Token ids, (n, contextLength) int32, padded as the original tokenizer pads.
   *
   * Rejects with ClipError ERR_CLIP_TEXT_TOO_LONG unless `truncate: true`, ERR_CLIP_CONFIG without a text tower; with
   * TypeError for what is no text; with `signal.reason`.
   */
  async tokenize(
    texts: string | readonly string[],
    options?: TokenizeOptions & { signal?: AbortSignal },
  ): Promise<Tokens> {
    return tokenize(this.#loaded, texts, options)
  }

  /** The text of token ids; special tokens are spelt out. Throws RangeError for an id of no piece. */
  detokenize(ids: ArrayLike<number>): string {
    const typed = isTypedArray(ids)
    if (!typed && !isArray(ids)) throw argumentError('ids', 'be an array of token ids', ids)
    const list = typed
      ? [...Uint8Array.prototype.values.call(ids)]
      : (listOf('ids', 'be an array of token ids', ids) as number[])
    return needTextTower(this.#loaded).decode(list)
  }

  /** Running jobs finish, queued ones reject ERR_CLIP_DISPOSED; resolves when the memory is given back. Idempotent. */
  async dispose(): Promise<void> {
    await this.#loaded.calls.dispose()
  }

  /** `await using clip = await load()` */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }
}
traceMethods(Clip)
