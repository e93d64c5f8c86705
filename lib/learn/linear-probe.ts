/**
 * Linear probe: multinomial logistic regression on features of the image tower (Radford et al., 2021, section 3.2 and
 * appendix A.3), solved by L-BFGS to scikit-learn's optimum.
 */

import { allocate } from '../base/allocate.js'
import { argumentError, got, quote } from '../base/errors.js'
import { callback, checkOptions, checkSignal, flag, integer, oneOf } from '../base/options.js'
import { inSlices } from '../base/slices.js'
import { Classifier } from '../classifier/classifier.js'
import { LinearProbeScorer } from '../classifier/scorers.js'
import type { Call } from '../encode/admission.js'
import type { Embeddings } from '../encode/embeddings.js'
import { checkCallSettings, type DecodeOption } from '../encode/image.js'
import type { Loaded } from '../encode/loaded-model.js'
import { kernelBackend, pooledWidth } from '../encode/loaded-model.js'
import { binding } from '../native/addon.js'
import { cancellable } from '../native/jobs.js'
import { checkExamples, classesOf, type Examples, featuresOf, owners } from './examples.js'

/**
 * Options of `clip.linearProbe`. Memory: the features (4 bytes per number), two and a half times as much besides, and
 * 8 bytes for each pair of image and label. Measured: 360 MB for 50 000 images with 512 features and 100 labels, of which
 * 102 MB are the features.
 */
export interface LinearProbeOptions extends DecodeOption {
  /** Features to train on: 'pooled' (default), before the projection, as in the paper, or 'embedding'. */
  output?: 'pooled' | 'embedding'
  /** Scale features to length 1; default as in encodeImage: true for 'embedding', false for 'pooled'. */
  normalize?: boolean
  /**
   * Inverse of the L2 penalty's strength, as scikit-learn's C: the loss is |W|^2 / 2 + C * sum of log-losses. Default:
   * chosen by `validation` if given, otherwise 0.316 (OpenAI's example).
   */
  C?: number
  /** Labelled images to choose C on, with the paper's search from 1e-6 to 1e6 in steps of an eighth of a decade. */
  validation?: Examples
  /** Largest number of L-BFGS iterations, default 1000. */
  maxIterations?: number
  /** Aborts the fit, which then rejects with the signal's reason. */
  signal?: AbortSignal
  /** Progress callback: first the number of images encoded, then the number of fits done. */
  onProgress?: (progress: { done: number; total: number; stage: 'encode' | 'fit' }) => void
}

/** A fit at one C. */
export interface Fit {
  weights: Float32Array
  bias: Float32Array
  loss: number
  gradientNorm: number
  iterations: number
  converged: boolean
}

interface Problem {
  features: Embeddings
  labels: Int32Array
  classes: number
  maxIterations: number
}

/** Aborted together with the call. */
async function solve(loaded: Loaded, call: Call, p: Problem, c: number, start?: Fit): Promise<Fit> {
  const [rows, width] = p.features.shape as readonly [number, number]
  const weights = allocate(Float32Array, 'the weights', p.classes, width)
  const bias = allocate(Float32Array, 'the biases', p.classes)
  if (start) {
    weights.set(start.weights)
    bias.set(start.bias)
  }
  const report = await cancellable(
    call.signal,
    job =>
      binding().learn.logistic(job, {
        features: p.features.data,
        labels: p.labels,
        rows,
        width,
        classes: p.classes,
        c,
        maxIterations: p.maxIterations,
        weights,
        bias,
        threads: loaded.model.threads,
        backend: kernelBackend(loaded),
      }),
    job => binding().learn.cancel(job),
  )
  return { weights, bias, ...report }
}

const decades = [-6, -4, -2, 0, 2, 4, 6]
/** An eighth of a decade. */
const finest = 1 / 8

/**
 * The paper's search (appendix A.3): tries seven powers of ten first, then halves the interval around the best until the
 * steps are an eighth of a decade. Of equal scores, the stronger penalty wins. `score` is called once per exponent.
 */
export async function searchC(
  score: (c: number) => Promise<number>,
): Promise<{ c: number; score: number; tried: number }> {
  const scores = new Map<number, number>()
  const ask = async (exponent: number): Promise<void> => {
    if (!scores.has(exponent)) scores.set(exponent, await score(10 ** exponent))
  }
  const best = () => [...scores].reduce((a, b) => (b[1] > a[1] || (b[1] === a[1] && b[0] < a[0]) ? b : a))
  for (const exponent of decades) await ask(exponent)
  for (let step = 1; step >= finest; step /= 2) {
    const [centre] = best()
    for (const exponent of [centre - step, centre + step])
      if (exponent >= decades[0]! && exponent <= decades.at(-1)!) await ask(exponent)
  }
  const [exponent, value] = best()
  return { c: 10 ** exponent, score: value, tried: scores.size }
}

/** Maximum number of fits of a search: seven, and two for each halving. */
const mostFits = decades.length + 2 * (1 + Math.log2(1 / finest))

export async function linearProbe<T extends string>(
  loaded: Loaded,
  examples: Examples<T>,
  options: LinearProbeOptions | undefined,
): Promise<Classifier<T>> {
  const o = checkOptions(options, [
    'output',
    'normalize',
    'C',
    'validation',
    'maxIterations',
    'decode',
    'signal',
    'onProgress',
  ])
  const signal = checkSignal(o.signal)
  const output = oneOf('output', o.output ?? 'pooled', ['pooled', 'embedding'])
  const normalize = flag('normalize', o.normalize ?? output === 'embedding')
  const maxIterations = integer('maxIterations', o.maxIterations ?? 1000, 1)
  const onProgress = callback('onProgress', o.onProgress)
  const settings = checkCallSettings(o)
  const { C } = o
  if (C !== undefined && !(typeof C === 'number' && C > 0 && Number.isFinite(C)))
    throw argumentError('C', 'be a number greater than 0', C)
  const train = checkExamples('examples', examples)
  const validation = o.validation === undefined ? undefined : checkExamples('validation', o.validation)
  if (validation && C !== undefined)
    throw argumentError('validation', 'be omitted if C is given', got('both'))
  const classes = (await inSlices(classesOf('examples.labels', train.labels), signal)) as T[]
  if (classes.length < 2)
    throw argumentError(
      'examples.labels',
      'have at least two different labels',
      got(`only ${quote(String(classes[0]))}`),
    )
  const labels = await inSlices(owners('examples.labels', train.labels, classes), signal)
  const expected =
    validation && (await inSlices(owners('validation.labels', validation.labels, classes), signal))
  const width = output === 'pooled' ? pooledWidth(loaded) : loaded.spec.embedDim

  return loaded.calls.run(signal, async call => {
    const total = train.labels.length + (validation?.labels.length ?? 0)
    const encode = (field: string, from: typeof train, before: number) =>
      featuresOf(
        loaded,
        call,
        field,
        from.images,
        output,
        normalize,
        width,
        settings,
        onProgress && (({ done }) => onProgress({ done: before + done, total, stage: 'encode' })),
      )
    const features = await encode('examples', train, 0)
    const problem: Problem = { features, labels, classes: classes.length, maxIterations }
    const scorer = (f: Fit, c: number, more: Record<string, number> = {}) =>
      new LinearProbeScorer(
        { data: f.weights, shape: [classes.length, features.shape[1]!] },
        { data: f.bias, shape: [classes.length] },
        output,
        normalize,
        { C: c, loss: f.loss, iterations: f.iterations, converged: Number(f.converged), ...more },
      )
    let chosen: LinearProbeScorer
    if (validation) {
      const held = await encode('validation', validation, train.labels.length)
      let done = 0
      const fits = new Map<number, Fit>()
      const found = await searchC(async c => {
        // Start from the fit with the next stronger penalty: it is close, and its loss is already low.
        const nearest = [...fits.keys()].filter(other => other < c).sort((a, b) => b - a)[0]
        const one = await solve(
          loaded,
          call,
          problem,
          c,
          nearest === undefined ? undefined : fits.get(nearest),
        )
        fits.set(c, one)
        onProgress?.({ done: ++done, total: mostFits, stage: 'fit' })
        const rows = held.shape[0]
        const { index } = await scorer(one, c).best(loaded, held.data, rows, 1, 'logit', call.signal)
        return index.reduce((right, at, i) => right + Number(at === expected![i]), 0) / rows
      })
      chosen = scorer(fits.get(found.c)!, found.c, { validationAccuracy: found.score })
    } else {
      const c = C ?? 0.316
      chosen = scorer(await solve(loaded, call, problem, c), c)
      onProgress?.({ done: 1, total: 1, stage: 'fit' })
    }
    if (!Number.isFinite(chosen.settings.loss as number))
      throw argumentError('examples.images', 'have finite features', got('NaN or infinity'))
    if (!chosen.settings.converged)
      process.emitWarning(
        `The linear probe has not converged after ${chosen.settings.iterations} iterations: raise maxIterations or lower C`,
        { code: 'CLIP_NOT_CONVERGED' },
      )
    return new Classifier(loaded, classes, chosen, { method: 'linear-probe', examples: train.labels.length })
  })
}
