/**
 * Tip-Adapter (Zhang et al., ECCV 2022): a cache of the examples' embeddings in addition to the class names, without training
 * or with fine-tuned keys (Tip-Adapter-F).
 */

import { allocate } from '../base/allocate.js'
import { argumentError, got } from '../base/errors.js'
import { callback, checkOptions, checkSignal, integer } from '../base/options.js'
import { inSlices, Slices } from '../base/slices.js'
import { Classifier } from '../classifier/classifier.js'
import { checkLabels, type Label } from '../classifier/labels.js'
import { classEmbeddings, type Template } from '../classifier/prompts.js'
import type { ScorerTensor } from '../classifier/scorers.js'
import { addCache, products, TipAdapterScorer } from '../classifier/scorers.js'
import type { Call } from '../encode/admission.js'
import { Embeddings } from '../encode/embeddings.js'
import { checkCallSettings, type DecodeOption } from '../encode/image.js'
import { kernelBackend, type Loaded, needLogitScale } from '../encode/loaded-model.js'
import { checkTokenize, type TokenizeOptions, tokenizeOptionNames } from '../encode/text.js'
import { binding } from '../native/addon.js'
import { cancellable } from '../native/jobs.js'
import { checkExamples, classesOf, type Examples, featuresOf, owners } from './examples.js'

/** How the keys are trained. The defaults are those of the published code. */
export interface FineTune {
  /** Number of epochs, default 20. */
  epochs?: number
  /** Batch size, default 256. */
  batchSize?: number
  /** Initial learning rate of AdamW, default 0.001; it decays to 0 along a cosine. */
  learningRate?: number
  /** Weight decay of AdamW, default 0.01. */
  weightDecay?: number
  /** Random seed for the order of the batches, default 1. */
  seed?: number
}

/** Options of `clip.tipAdapter`. The defaults are those of the published code. */
export interface TipAdapterOptions extends TokenizeOptions, DecodeOption {
  /** The classes, as in `clip.classifier`; default: the labels of the examples. */
  labels?: readonly Label[]
  /** Prompt templates, as in `clip.classifier`. */
  templates?: Template | readonly Template[]
  /** Weight of the cache, default 1. */
  alpha?: number
  /** Sharpness of the cache: how fast the weight of an example decreases with its distance; default 5.5. */
  beta?: number
  /** Labelled images to choose alpha (0.1 to 3) and beta (0.1 to 7) on, from 20 values of each. */
  validation?: Examples
  /** Train the keys on the examples; true uses the published settings. Default false: nothing is trained. */
  fineTune?: boolean | FineTune
  /** Aborts the call, which then rejects with the signal's reason. */
  signal?: AbortSignal
  /** Called with the number of images that have been encoded. */
  onProgress?: (progress: { done: number; total: number }) => void
}

function positive(field: string, value: number | undefined, preset: number): number {
  if (value === undefined) return preset
  if (typeof value !== 'number' || !(value > 0) || !Number.isFinite(value))
    throw argumentError(field, 'be a number greater than 0', value)
  return value
}

function checkFineTune(value: TipAdapterOptions['fineTune']): Required<FineTune> | undefined {
  if (value === undefined || value === false) return undefined
  const f = checkOptions(
    value === true ? {} : value,
    ['epochs', 'batchSize', 'learningRate', 'weightDecay', 'seed'],
    'fineTune',
  ) as FineTune
  const decay = f.weightDecay ?? 0.01
  if (typeof decay !== 'number' || !(decay >= 0))
    throw argumentError('fineTune.weightDecay', 'be 0 or more', decay)
  return {
    epochs: integer('fineTune.epochs', f.epochs ?? 20, 1),
    batchSize: integer('fineTune.batchSize', f.batchSize ?? 256, 1),
    learningRate: positive('fineTune.learningRate', f.learningRate, 0.001),
    weightDecay: decay,
    seed: integer('fineTune.seed', f.seed ?? 1, 0),
  }
}

/** A copy of the caller's embeddings: the classifier keeps them, and the caller may transfer the originals. */
async function ownCopy(
  field: string,
  given: Embeddings,
  signal: AbortSignal | undefined,
): Promise<Embeddings> {
  const { data, shape } = given
  const count = shape[0] * shape[1]
  const check = () => {
    if (data.length !== count)
      throw argumentError(`${field}.images`, `have ${count} values (${shape.join(' x ')})`, got(data.length))
  }
  check()
  const copy = allocate(Float32Array, 'the examples', ...shape)
  const slices = new Slices()
  for (let from = 0; from < count; from += 65536) {
    check()
    copy.set(data.subarray(from, from + 65536), from)
    if (slices.due()) await slices.pause(signal)
  }
  return new Embeddings(copy, shape)
}

interface Cache {
  classes: ScorerTensor
  keys: Float32Array
  owners: Int32Array
}

/** As in the published code (run_tip_adapter_F): cross entropy on the examples themselves. */
async function train(
  loaded: Loaded,
  call: Call,
  { classes, keys, owners }: Cache,
  features: Float32Array,
  f: Required<FineTune>,
  alpha: number,
  beta: number,
): Promise<Float32Array> {
  const trained = keys.slice()
  await cancellable(
    call.signal,
    job =>
      binding().learn.tipAdapter(job, {
        features,
        labels: owners,
        classes: classes.data,
        keys: trained,
        owners,
        rows: owners.length,
        dim: classes.shape[1]!,
        classCount: classes.shape[0]!,
        keyCount: owners.length,
        logitScale: needLogitScale(loaded),
        alpha,
        beta,
        epochs: f.epochs,
        batch: f.batchSize,
        rate: f.learningRate,
        weightDecay: f.weightDecay,
        seed: f.seed,
        threads: loaded.model.threads,
        backend: kernelBackend(loaded),
      }),
    job => binding().learn.cancel(job),
  )
  return trained
}

const grid = (from: number, to: number, steps: number) =>
  Array.from({ length: steps }, (_, i) => from + (i * (to - from)) / (steps - 1))

/** Products of validation images and keys that are in memory at a time: 16 MB. */
const productsPerTile = 1 << 22

/**
 * The alpha and beta with the most correct answers on the validation images; of equal ones the first, which is the smaller.
 * Images are processed in tiles, so that the (images, keys) products are never in memory as a whole.
 */
async function search(
  loaded: Loaded,
  call: Call,
  { classes, keys, owners }: Cache,
  held: Embeddings,
  expected: Int32Array,
): Promise<{ alpha: number; beta: number; accuracy: number }> {
  const [rows, dim] = held.shape
  const count = classes.shape[0]!
  const ownersAsFloats = new Float32Array(owners)
  const keysOf: ScorerTensor = { data: keys, shape: [owners.length, dim] }
  const [betas, alphas] = [grid(0.1, 7, 20), grid(0.1, 3, 20)]
  const right = new Float64Array(betas.length * alphas.length)
  const slices = new Slices()
  const tile = Math.max(1, Math.floor(productsPerTile / Math.max(owners.length, count)))
  for (let from = 0; from < rows; from += tile) {
    const n = Math.min(tile, rows - from)
    const part = held.data.subarray(from * dim, (from + n) * dim)
    const base = await products(loaded, part, n, classes, needLogitScale(loaded))
    const affinity = await products(loaded, part, n, keysOf, 1)
    for (const [b, beta] of betas.entries()) {
      const cache = allocate(Float32Array, 'the scores', n, count)
      await addCache(cache, affinity, n, count, ownersAsFloats, { alpha: 1, beta }, call.signal)
      for (const [a, alpha] of alphas.entries()) {
        for (let r = 0; r < n; r++) {
          let at = 0
          let top = Number.NEGATIVE_INFINITY
          for (let c = 0; c < count; c++) {
            const logit = base[r * count + c]! + alpha * cache[r * count + c]!
            if (logit > top) {
              top = logit
              at = c
            }
          }
          right[b * alphas.length + a]! += Number(at === expected[from + r])
          if (slices.due()) await slices.pause(call.signal)
        }
      }
    }
  }
  let best = 0
  for (let i = 1; i < right.length; i++) if (right[i]! > right[best]!) best = i
  return {
    alpha: alphas[best % alphas.length]!,
    beta: betas[Math.floor(best / alphas.length)]!,
    accuracy: right[best]! / rows,
  }
}

export async function tipAdapter<T extends string>(
  loaded: Loaded,
  examples: Examples<T>,
  options: TipAdapterOptions | undefined,
): Promise<Classifier> {
  const o = checkOptions(options, [
    'labels',
    'templates',
    'alpha',
    'beta',
    'validation',
    'fineTune',
    'decode',
    'signal',
    'onProgress',
    ...tokenizeOptionNames,
  ])
  const signal = checkSignal(o.signal)
  const onProgress = callback('onProgress', o.onProgress)
  const reading = checkCallSettings(o)
  const fineTune = checkFineTune(o.fineTune)
  const alpha = positive('alpha', o.alpha, 1)
  const beta = positive('beta', o.beta, 5.5)
  const given = checkExamples('examples', examples)
  const validation = o.validation === undefined ? undefined : checkExamples('validation', o.validation)
  const labelled = await inSlices(
    checkLabels(
      o.labels ?? (await inSlices(classesOf('examples.labels', given.labels), signal)),
      o.templates,
    ),
    signal,
  )
  const labels = labelled.map(c => c.label)
  const own = await inSlices(owners('examples.labels', given.labels, labels), signal)
  const expected =
    validation && (await inSlices(owners('validation.labels', validation.labels, labels), signal))
  const classes = await classEmbeddings(loaded, labelled, { ...checkTokenize(o), signal })

  return loaded.calls.run(signal, async call => {
    const dim = loaded.spec.embedDim
    const encode = async (field: string, images: typeof given.images, told?: typeof onProgress) => {
      const features = await featuresOf(loaded, call, field, images, 'embedding', true, dim, reading, told)
      return features.data === (images as Embeddings).data ? ownCopy(field, features, signal) : features
    }
    const features = await encode('examples', given.images, onProgress)
    const cache: Cache = { classes, keys: features.data, owners: own }
    if (fineTune) cache.keys = await train(loaded, call, cache, features.data, fineTune, alpha, beta)
    const found =
      validation &&
      (await search(loaded, call, cache, await encode('validation', validation.images), expected!))
    const settings = {
      alpha: found?.alpha ?? alpha,
      beta: found?.beta ?? beta,
      fineTuned: Number(fineTune !== undefined),
      ...(found ? { validationAccuracy: found.accuracy } : {}),
    }
    const scorer = new TipAdapterScorer(
      classes,
      { data: cache.keys, shape: [own.length, dim] },
      { data: new Float32Array(own), shape: [own.length] },
      settings,
    )
    return new Classifier(loaded, labels, scorer, { method: 'tip-adapter', examples: own.length })
  })
}
