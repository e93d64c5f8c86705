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
import {
  type BackgroundOption,
  type DecodeOption,
  type EncodeImageOptions,
  encodeImage,
  preprocess,
} from './encode/image.js'
import type { Loaded } from './encode/loaded-model.js'
import type { Output } from './encode/result.js'
import { type EncodeTextOptions, encodeText, needTextTower, type TokenizeOptions } from './encode/text.js'
import { type Tokens, tokenize } from './encode/tokenize.js'
import type { ImageSettings } from './image/decode.js'
import type { DecodeMode } from './image/decode-mode.js'
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

/** Properties of a loaded model and of what it runs on. */
export interface ClipInfo {
  /** Dimension of embeddings; 0 if the checkpoint has no projection: then only `output: 'pooled'` and 'tokens' work. */
  embedDim: number
  /** Width and height of the image tower's input in pixels; undefined without that tower. */
  imageSize: number | undefined
  /** Largest number of tokens in a text, start and end token included; undefined without a text tower. */
  contextLength: number | undefined
  /**
   * How cosines become probabilities: the 'softmax' over all texts, as in CLIP, or the 'sigmoid' of each pair, as in SigLIP,
   * where an image may match several texts or none.
   */
  scoring: 'softmax' | 'sigmoid'
  /** Factor of the cosines before the softmax or sigmoid: 100 in OpenAI's models. NaN if the checkpoint has none. */
  logitScale: number
  /** Added to the scaled cosines: about -10 to -17 in SigLIP's models, 0 in others. */
  logitBias: number
  /** The layout of the checkpoint's files: 'openai', 'openclip' or 'huggingface'. */
  family: string
  /** The tokenizer: 'CLIP', or a class of transformers, such as 'GemmaTokenizer'; undefined without a text tower. */
  tokenizer: string | undefined
  /** Parts of the model that loading folds into other weights: `batch norms`, `the query of the attention pool`. */
  folded: readonly string[]
  /** The encoders that are loaded. */
  towers: Tower[]
  /** The device that the model runs on. */
  device: 'cpu' | 'cuda' | 'reference'
  /** The backend and the CPU features that it uses: `avx512+vnni+bf16+amx`. */
  backend: string
  /** Number format of weights and matrix products. */
  dtype: Dtype
  /** Number of threads per pass. */
  threads: number
  /** How images are decoded where a call does not say otherwise: the option `decode` of `load`. */
  decode: DecodeMode
  /**
   * Size of the packed weights in bytes. In a float32 model, a matrix whose weights are all float16 numbers (as in
   * OpenAI's models, whatever the file) takes 2 bytes per weight, with the same results as with 4.
   */
  weightBytes: number
  /**
   * What `packCache: true` did: 'mapped' the cached file, 'written' it for the next start, or 'failed' (a warning says
   * why). 'off' without that option.
   */
  packCache: PackCacheUse
  /**
   * Identifies the weights by their values, and the configuration: models with the same numbers have the same fingerprint,
   * whatever the file, its format and dtype.
   */
  fingerprint: string
  /** What the checkpoint contains besides the model and is not used: `optimizer.* (412)`, `classifier.weight`. */
  ignored?: readonly string[]
}

/** The parts that native code folds into other weights when it packs them (native/model/weights.cc). */
function foldedOf({ image, text, tensors }: ModelSpec): string[] {
  return [
    ...(image?.kind === 'modifiedResNet' || (image?.kind === 'transformer' && image.embed.stem)
      ? ['batch norms']
      : []),
    ...(image?.kind === 'convNext' ? ['layer scales'] : []),
    ...(image?.kind === 'transformer' && image.pool === 'attention'
      ? ['the query of the attention pool']
      : []),
    ...(text && tensors['text.tokenType'] ? ['the type of the tokens'] : []),
    ...(text?.embed.tokenScale !== undefined ? ['the scale of the token embeddings'] : []),
  ]
}

/** A loaded CLIP model, as `load` returns it. Async methods never throw synchronously: they reject. */
export class Clip implements AsyncDisposable {
  /** Properties of the model and of what it runs on. */
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
    imageSettings: ImageSettings
  }) {
    const { model, spec, checkpoint, tokenizer, dtype, maxQueue, imageSettings } = parts
    this.#loaded = {
      model,
      spec,
      checkpoint,
      imageSettings,
      ...(tokenizer ? { tokenizer } : {}),
      calls: new Calls(model, maxQueue),
      gate: new DecodeGate(model.threads),
    }
    this.info = Object.freeze({
      embedDim: model.shapes.embedDim,
      imageSize: model.shapes.image?.size,
      contextLength: model.shapes.text?.contextLength,
      scoring: spec.scoring?.kind ?? 'softmax',
      logitScale: spec.scoring?.scale ?? Number.NaN,
      logitBias: spec.scoring?.bias ?? 0,
      family: checkpoint.family,
      tokenizer: spec.text && (checkpoint.tokenizer.kind === 'file' ? checkpoint.tokenizer.class : 'CLIP'),
      folded: Object.freeze(foldedOf(spec)),
      towers: (['image', 'text'] as const).filter(tower => spec[tower]),
      device: model.device,
      backend: model.active,
      dtype,
      threads: model.threads,
      decode: imageSettings.decode ?? 'exact',
      weightBytes: model.weightBytes,
      packCache: model.packCache.use,
      fingerprint: checkpoint.fingerprint,
      ...(checkpoint.ignored.length > 0 ? { ignored: Object.freeze([...checkpoint.ignored]) } : {}),
    })
  }

  /**
   * Preprocesses images as OpenAI's `preprocess` does: resized, cropped and normalized planes of shape
   * (n, 3, size, size), bit-identical to those of Pillow and torchvision. `encodeImage` accepts the result as images.
   *
   * Rejects with a ClipError ERR_CLIP_IMAGE (`index` says which image), ERR_CLIP_CONFIG without an image tower, or
   * ERR_CLIP_DISPOSED; with a TypeError or RangeError for invalid arguments; or with `signal.reason`.
   */
  async preprocess(
    images: ImageInput | readonly ImageInput[],
    options?: { signal?: AbortSignal } & BackgroundOption & DecodeOption,
  ): Promise<Preprocessed> {
    return preprocess(this.#loaded, images, options)
  }

  /**
   * Embeds images: float32 of shape (n, embedDim), with rows of length 1 unless `normalize: false` (as OpenAI's
   * encode_image returns them). `output: 'pooled'` gives (n, width) and 'tokens' (n, tokens, width), not normalized unless
   * `normalize: true`. A single image gives n = 1. Images are decoded off the JavaScript thread, at most 2 x threads ahead.
   *
   * Rejects with a ClipError ERR_CLIP_IMAGE (`index` says which image), ERR_CLIP_BUSY, ERR_CLIP_MEMORY or
   * ERR_CLIP_DISPOSED; with a TypeError or RangeError for invalid arguments; or with `signal.reason`.
   */
  async encodeImage<O extends Output = 'embedding'>(
    images: ImageInput | readonly ImageInput[],
    options?: EncodeImageOptions<O>,
  ): Promise<EmbeddingsOf<O>> {
    return encodeImage(this.#loaded, images, options)
  }

  /**
   * Embeds texts: float32 of shape (n, embedDim), with rows of length 1 unless `normalize: false` (as OpenAI's
   * encode_text returns them). `output: 'pooled'` gives (n, width) and 'tokens' (n, tokens, width), not normalized unless
   * `normalize: true`.
   *
   * Rejects with a ClipError ERR_CLIP_TEXT_TOO_LONG unless `truncate: true`, and like encodeImage.
   */
  async encodeText<O extends Output = 'embedding'>(
    texts: string | readonly string[],
    options?: EncodeTextOptions<O>,
  ): Promise<EmbeddingsOf<O>> {
    return encodeText(this.#loaded, texts, options)
  }

  /**
   * Scores every image against every text: float32 of shape (images, texts), by default probabilities over the texts (see
   * `as` and `over`; Radford et al., 2021, figure 3: logit = logitScale * cosine). Either side may be given as
   * embeddings.
   *
   * Rejects like encodeImage and encodeText.
   */
  async similarity(
    images: ImageInput | readonly ImageInput[] | Embeddings,
    texts: string | readonly string[] | Embeddings,
    options?: SimilarityOptions,
  ): Promise<Embeddings<readonly [images: number, texts: number]>> {
    return similarity(this.#loaded, images, texts, options)
  }

  /**
   * Creates a zero-shot classifier: encodes the labels once, to classify any number of images. A label is a string, or
   * several names of one class. Every name is put into every template; the embedding of a class is the normalized mean of
   * the normalized embeddings of its prompts, as in the CLIP paper (section 3.1.4) and in open_clip's
   * build_zero_shot_classifier.
   *
   * Rejects like encodeText, and with a TypeError or RangeError for invalid labels or templates.
   */
  async classifier<const L extends Label>(
    labels: readonly L[],
    options?: ClassifierOptions,
  ): Promise<Classifier<LabelOf<L>>> {
    return Classifier.create(this.#loaded, labels, options)
  }

  /**
   * Loads a classifier that `save` wrote. Rejects with a ClipError ERR_CLIP_CHECKPOINT if the file is damaged or not a
   * classifier, or ERR_CLIP_MODEL_MISMATCH if it was made with other weights.
   */
  async loadClassifier(file: string | URL, options?: { signal?: AbortSignal }): Promise<Classifier> {
    const signal = checkSignal(checkOptions(options, ['signal']).signal)
    this.#loaded.calls.throwIfDisposed()
    const { labels, scorer, origin } = await readClassifier(this.#loaded, file, signal)
    return new Classifier(this.#loaded, labels, scorer, origin)
  }

  /**
   * Trains a linear probe: a classifier learned from labelled images by multinomial logistic regression on the features of
   * the image tower, as in section 3.2 of the CLIP paper, to scikit-learn's optimum.
   *
   * Memory grows with the number of images: 16 bytes for each number of their features (360 MB in total for 50 000 images
   * with 512 features each and 100 labels).
   *
   * Rejects like encodeImage, and with a TypeError or RangeError for invalid examples.
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
   * Creates a Tip-Adapter (Zhang et al., 2022): a classifier from class names and a cache of a few labelled images.
   * Nothing is trained, or with `fineTune` the keys of the cache.
   *
   * Rejects like encodeImage, and with a TypeError or RangeError for invalid examples.
   */
  async tipAdapter(examples: Examples, options?: TipAdapterOptions): Promise<Classifier> {
    return (require('./learn/tip-adapter.js') as typeof import('./learn/tip-adapter.js')).tipAdapter(
      this.#loaded,
      examples,
      options,
    )
  }

  /**
   * Trains both projections and the temperature on pairs of images and texts with the contrastive loss of the CLIP paper;
   * the towers are frozen. This model does not change: save the result, and `load` it with the option `adapter`.
   *
   * Rejects like encodeImage and encodeText, and with a TypeError or RangeError for invalid pairs.
   */
  async adapt(pairs: Pairs, options?: AdaptOptions): Promise<Adapter> {
    return (require('./learn/adapt.js') as typeof import('./learn/adapt.js')).adapt(
      this.#loaded,
      pairs,
      options,
    )
  }

  /**
   * Opens a store, which is a folder of embeddings on disk: `store.add(images)`, `store.search('words')`.
   *
   * Rejects with a ClipError ERR_CLIP_INPUT if there is no store (`create: true` creates one), ERR_CLIP_CHECKPOINT naming
   * file and field if it is damaged, or ERR_CLIP_MODEL_MISMATCH if it was made with other weights.
   */
  async openStore(folder: string | URL, options?: OpenStoreOptions): Promise<Store> {
    return (require('./store/store.js') as typeof import('./store/store.js')).Store.open(
      this.#loaded,
      folder,
      options,
    )
  }

  /**
   * Tokenizes texts: int32 ids of shape (n, contextLength), padded as the original tokenizer pads.
   *
   * Rejects with a ClipError ERR_CLIP_TEXT_TOO_LONG unless `truncate: true`, or ERR_CLIP_CONFIG without a text tower; with
   * a TypeError for anything but texts; or with `signal.reason`.
   */
  async tokenize(
    texts: string | readonly string[],
    options?: TokenizeOptions & { signal?: AbortSignal },
  ): Promise<Tokens> {
    return tokenize(this.#loaded, texts, options)
  }

  /** The text of token ids; special tokens are spelled out. Throws a RangeError for an id that is not in the vocabulary. */
  detokenize(ids: ArrayLike<number>): string {
    const typed = isTypedArray(ids)
    if (!typed && !isArray(ids)) throw argumentError('ids', 'be an array of token ids', ids)
    const list = typed
      ? [...Uint8Array.prototype.values.call(ids)]
      : (listOf('ids', 'be an array of token ids', ids) as number[])
    return needTextTower(this.#loaded).decode(list)
  }

  /** Frees the model. Running passes finish, waiting calls reject with ERR_CLIP_DISPOSED; resolves once the memory is freed. Idempotent. */
  async dispose(): Promise<void> {
    await this.#loaded.calls.dispose()
  }

  /** `await using clip = await load()` */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }
}
traceMethods(Clip)
