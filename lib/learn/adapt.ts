/**
 * Contrastive adaptation: trains both projections and the temperature on the user's own pairs, with all other weights frozen.
 * The objective is that of the paper (Radford et al., 2021, figure 3); the temperature is clipped at 100 (section 2.5).
 */

import { argumentError, ClipError, got } from '../base/errors.js'
import { callback, checkOptions, checkSignal, integer, listOf } from '../base/options.js'
import { traceMethods } from '../base/stack.js'
import type { Call } from '../encode/admission.js'
import { checkEmbeddings, Embeddings, isEmbeddings } from '../encode/embeddings.js'
import { checkCallSettings, type DecodeOption } from '../encode/image.js'
import {
  kernelBackend,
  type Loaded,
  needLogitScale,
  needProjection,
  pooledWidth,
} from '../encode/loaded-model.js'
import { checkEncode } from '../encode/result.js'
import {
  checkTokenize,
  encodeTexts,
  needTextTower,
  type TokenizeOptions,
  tokenizeOptionNames,
} from '../encode/text.js'
import type { ImageInput } from '../image/input.js'
import { binding } from '../native/addon.js'
import { cancellable } from '../native/jobs.js'
import type { NativeSide } from '../native/surface.js'
import { projectionNames, writeAdapter } from './adapter-file.js'
import { featuresOf } from './examples.js'
import { readTensor } from './read-tensor.js'

/** Pairs of images and texts: `texts[i]` describes `images[i]`. */
export interface Pairs {
  /** Images, or the result of encodeImage with `output: 'pooled'`. */
  images: readonly ImageInput[] | Embeddings
  /** Texts, or the result of encodeText with `output: 'pooled'`. */
  texts: readonly string[] | Embeddings
}

/** Options of `clip.adapt`. The defaults suit some hundreds to thousands of pairs. */
export interface AdaptOptions extends TokenizeOptions, DecodeOption {
  /** Number of epochs; default 20. */
  epochs?: number
  /** Number of pairs per batch, which are each other's negatives; default 256, at least 2. */
  batchSize?: number
  /** Initial learning rate of AdamW, default 1e-4; it decays to 0 along a cosine. */
  learningRate?: number
  /** Weight decay of AdamW on the projections, default 0.01. */
  weightDecay?: number
  /** Random seed for the order of the pairs, default 1. */
  seed?: number
  /** Aborts the training, which then rejects with the signal's reason. */
  signal?: AbortSignal
  /** Called with the number of images that have been encoded. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** The result of `clip.adapt`. `save` it, and load it with `load(source, { adapter: file })`. */
export class Adapter {
  /** The trained temperature, at most 100. */
  readonly logitScale: number
  /** Mean loss of the last epoch. */
  readonly loss: number
  /** Shape (embedDim, width) of each tower's projection. */
  readonly projections: { readonly image: Embeddings; readonly text: Embeddings }
  readonly #save: (file: string | URL) => Promise<void>

  /** @internal */
  constructor(
    logitScale: number,
    loss: number,
    projections: Adapter['projections'],
    save: (adapter: Adapter, file: string | URL) => Promise<void>,
  ) {
    this.logitScale = logitScale
    this.loss = loss
    this.projections = projections
    this.#save = file => save(this, file)
  }

  /** Saves one small safetensors file, completely or not at all. Rejects with a ClipError ERR_CLIP_INPUT if it can't be written. */
  async save(file: string | URL): Promise<void> {
    await this.#save(file)
  }
}
traceMethods(Adapter)

function rate(field: string, value: number | undefined, preset: number, least: number): number {
  if (value === undefined) return preset
  if (typeof value !== 'number' || !Number.isFinite(value) || value < least || (least === 0 && value < 0))
    throw argumentError(field, least === 0 ? 'be 0 or more' : 'be a number greater than 0', value)
  return value
}

async function side(
  loaded: Loaded,
  features: Embeddings,
  weight: string,
  signal: AbortSignal | undefined,
): Promise<NativeSide> {
  const spec = loaded.spec
  const bias = `${weight.replace(/\.weight$/, '')}.bias`
  return {
    features: features.data,
    width: features.shape[1],
    projection: await readTensor(spec, weight, signal),
    ...(spec.tensors[bias] ? { bias: await readTensor(spec, bias, signal) } : {}),
  }
}

async function textFeatures(
  loaded: Loaded,
  call: Call,
  texts: Pairs['texts'],
  tokenize: TokenizeOptions,
): Promise<Embeddings> {
  const { width } = loaded.model.shapes.text!
  if (isEmbeddings(texts))
    return checkEmbeddings('pairs.texts', texts, `be rows of ${width} values (output: 'pooled')`, width)
  const checked = checkEncode({ output: 'pooled' as const, ...(call.signal ? { signal: call.signal } : {}) })
  return (await encodeTexts(loaded, call, texts, false, checked, checkTokenize(tokenize))) as Embeddings
}

export async function adapt(
  loaded: Loaded,
  pairs: Pairs,
  options: AdaptOptions | undefined,
): Promise<Adapter> {
  const o = checkOptions(options, [
    'epochs',
    'batchSize',
    'learningRate',
    'weightDecay',
    'seed',
    'decode',
    'signal',
    'onProgress',
    ...tokenizeOptionNames,
  ])
  const signal = checkSignal(o.signal)
  const onProgress = callback('onProgress', o.onProgress)
  const settings = checkCallSettings(o)
  const training = {
    epochs: integer('epochs', o.epochs ?? 20, 1),
    batch: integer('batchSize', o.batchSize ?? 256, 2),
    rate: rate('learningRate', o.learningRate, 1e-4, Number.MIN_VALUE),
    weightDecay: rate('weightDecay', o.weightDecay, 0.01, 0),
    seed: integer('seed', o.seed ?? 1, 0),
  }
  needTextTower(loaded)
  const logitScale = needLogitScale(loaded)
  for (const tower of ['image', 'text'] as const) {
    needProjection(loaded, tower)
    const spec = loaded.spec[tower]
    if (spec?.kind === 'transformer' && spec.project === 'identity')
      throw new ClipError(
        'ERR_CLIP_CONFIG',
        `The ${tower} tower of this model ends without a projection, which adapt trains: learn from examples with \`clip.linearProbe\` or \`clip.tipAdapter\``,
        { field: `${tower}.projection`, expected: 'a projection', actual: 'none' },
      )
  }
  const given = checkOptions(pairs, ['images', 'texts'], 'pairs') as Partial<Pairs>
  const listed = <T>(field: string, value: unknown) =>
    isEmbeddings(value)
      ? checkEmbeddings(field, value, 'be rows of equal width', undefined)
      : (listOf(field, 'be an array, or pooled features', value) as T[])
  const images = listed<ImageInput>('pairs.images', given.images)
  const texts = listed<string>('pairs.texts', given.texts)
  const count = (value: Embeddings | unknown[]) => (isEmbeddings(value) ? value.shape[0] : value.length)
  const n = count(images)
  if (count(texts) !== n)
    throw argumentError('pairs.texts', `have ${n} elements, one for each image`, got(count(texts)))
  if (n < 2) throw argumentError('pairs.images', 'have at least two images', got(n))

  return loaded.calls.run(signal, async call => {
    const width = pooledWidth(loaded)
    const [imageFeatures, pooledTexts] = [
      await featuresOf(loaded, call, 'pairs', images, 'pooled', false, width, settings, onProgress),
      await textFeatures(loaded, call, texts, o),
    ]
    const names = projectionNames(loaded.spec)
    const imageSide = await side(loaded, imageFeatures, names.image!, signal)
    const textSide = await side(loaded, pooledTexts, names.text!, signal)
    const result = await cancellable(
      signal,
      job =>
        binding().learn.contrastive(job, {
          images: imageSide,
          texts: textSide,
          pairs: n,
          embedDim: loaded.spec.embedDim,
          logitScale: logitScale,
          ...training,
          threads: loaded.model.threads,
          backend: kernelBackend(loaded),
        }),
      job => binding().learn.cancel(job),
    )
    if (!Number.isFinite(result.loss))
      throw argumentError('pairs', 'have finite features', got('a loss that is not a number'))
    const matrix = (s: NativeSide) => new Embeddings(s.projection, [loaded.spec.embedDim, s.width] as const)
    const projections = { image: matrix(imageSide), text: matrix(textSide) }
    return new Adapter(result.logitScale, result.loss, projections, (adapter, file) =>
      writeAdapter(loaded, file, adapter, { pairs: n, ...training }),
    )
  })
}
