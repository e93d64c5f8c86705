/**
 * Scorers compute scores of labels from features of images: with class embeddings (zero-shot), a linear probe or a
 * Tip-Adapter. A scorer has only arithmetic and tensors; the classifier handles labels, images and files.
 */

import { allocate } from '../base/allocate.js'
import { inSlices, Slices, type Steps } from '../base/slices.js'
import { kernelBackend, type Loaded, needLogitScale, scoresOf } from '../encode/loaded-model.js'
import { binding, fromNative } from '../native/addon.js'
import type { ScoreKind } from '../native/surface.js'

/** How a classifier scores: from class names, or learned from examples. */
export type ClassifierKind = 'zero-shot' | 'linear-probe' | 'tip-adapter'

export interface ScorerTensor {
  data: Float32Array
  shape: readonly number[]
}

/** The k best classes of each row, best first. */
export interface Best {
  /** (rows, k) */
  index: Int32Array
  /** (rows, k) */
  value: Float32Array
}

export interface Scorer {
  readonly kind: ClassifierKind
  /** The features that it reads: `output` and `normalize` of encodeImage, and their width. */
  readonly features: { output: 'embedding' | 'pooled'; normalize: boolean; width: number }
  /** (classes, width): the class embeddings; for a linear probe, its weights. */
  readonly classes: ScorerTensor
  /** The other tensors and numbers of its file. */
  readonly tensors: Readonly<Record<string, ScorerTensor>>
  readonly settings: Readonly<Record<string, number | string>>
  best(
    loaded: Loaded,
    features: Float32Array,
    rows: number,
    k: number,
    as: ScoreKind,
    signal?: AbortSignal,
  ): Promise<Best>
}

/** Class embeddings of length 1: score = logitScale * cosine + bias, as in the paper's section 3.1.2 and in SigLIP. */
export class ZeroShotScorer implements Scorer {
  readonly kind = 'zero-shot'
  readonly features
  readonly classes: ScorerTensor
  readonly tensors = {}
  readonly settings = {}

  constructor(classes: ScorerTensor) {
    this.classes = classes
    this.features = { output: 'embedding', normalize: true, width: classes.shape[1]! } as const
  }

  async best(
    loaded: Loaded,
    features: Float32Array,
    rows: number,
    k: number,
    as: ScoreKind,
    signal?: AbortSignal,
  ): Promise<Best> {
    const [classCount, dim] = this.classes.shape as [number, number]
    const index = allocate(Int32Array, 'the predictions', rows, k)
    const value = allocate(Float32Array, 'the predictions', rows, k)
    await fromNative(() =>
      binding().kernels.cosineTopK({
        queries: features,
        classes: this.classes.data,
        index,
        value,
        rows,
        classCount,
        dim,
        k,
        ...scoresOf(loaded, as),
        threads: loaded.model.threads,
        backend: kernelBackend(loaded),
      }),
    )
    signal?.throwIfAborted()
    return { index, value }
  }
}

/**
 * The k best of each row of (rows, classes) logits; ties go to the lower index. Probabilities are the softmax over all
 * classes. A NaN makes every probability of its row NaN.
 */
export async function bestLogits(
  logits: Float32Array,
  rows: number,
  classes: number,
  k: number,
  as: 'probability' | 'logit',
  signal?: AbortSignal,
): Promise<Best> {
  const index = allocate(Int32Array, 'the predictions', rows, k)
  const value = allocate(Float32Array, 'the predictions', rows, k)
  await inSlices(
    (function* () {
      for (let r = 0; r < rows; r++) {
        const row = logits.subarray(r * classes, (r + 1) * classes)
        yield* bestOfRow(row, as, index.subarray(r * k, (r + 1) * k), value.subarray(r * k, (r + 1) * k))
        yield
      }
    })(),
    signal,
  )
  return { index, value }
}

/** Numbers processed between two pauses. */
const perStep = 4096

function* bestOfRow(
  row: Float32Array,
  as: 'probability' | 'logit',
  chosen: Int32Array,
  value: Float32Array,
): Steps<void> {
  yield* chosen.length > insertedAtMost ? selectByHeap(row, chosen) : selectByInsertion(row, chosen)
  let top = Number.NEGATIVE_INFINITY
  let sum = 0
  if (as === 'probability') {
    for (let c = 0; c < row.length; c++) {
      if (!(row[c]! <= top)) top = row[c]!
      if (c % perStep === perStep - 1) yield
    }
    for (let c = 0; c < row.length; c++) {
      sum += Math.exp(row[c]! - top)
      if (c % perStep === perStep - 1) yield
    }
  }
  for (let j = 0; j < chosen.length; j++) {
    const logit = row[chosen[j]!]!
    value[j] = as === 'logit' ? logit : Math.exp(logit - top) / sum
    if (j % perStep === perStep - 1) yield
  }
}

/** Up to this k, insertion into a sorted list is used; above it, a heap is faster. */
const insertedAtMost = 16

function* selectByInsertion(row: Float32Array, chosen: Int32Array): Steps<void> {
  const k = chosen.length
  let count = 0
  for (let c = 0; c < row.length; c++) {
    if (c % perStep === perStep - 1) yield
    const logit = row[c]!
    if (count === k && !before(logit, row[chosen[k - 1]!]!)) continue
    let at = count === k ? k - 1 : count++
    for (; at > 0 && before(logit, row[chosen[at - 1]!]!); at--) chosen[at] = chosen[at - 1]!
    chosen[at] = c
  }
}

/** The same order, from a heap whose root is the worst of the chosen ones; it is emptied from the end. */
function* selectByHeap(row: Float32Array, chosen: Int32Array): Steps<void> {
  const after = (a: number, b: number): boolean =>
    before(row[b]!, row[a]!) || (!before(row[a]!, row[b]!) && a > b)
  const sift = (item: number, size: number): void => {
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      if (child + 1 < size && after(chosen[child + 1]!, chosen[child]!)) child++
      if (!after(chosen[child]!, item)) break
      chosen[at] = chosen[child]!
      at = child
    }
    chosen[at] = item
  }
  let work = 0
  for (let c = 0; c < row.length; c++) {
    if (++work % 512 === 0) yield
    if (c < chosen.length) {
      let at = c
      for (; at > 0 && after(c, chosen[(at - 1) >> 1]!); at = (at - 1) >> 1)
        chosen[at] = chosen[(at - 1) >> 1]!
      chosen[at] = c
    } else if (after(chosen[0]!, c)) sift(c, chosen.length)
  }
  for (let size = chosen.length - 1; size > 0; size--) {
    if (++work % 512 === 0) yield
    const last = chosen[size]!
    chosen[size] = chosen[0]!
    sift(last, size)
  }
}

/** Best first; NaN counts as best, as in cosineTopK (and torch.topk). */
const before = (a: number, b: number) => a > b || (Number.isNaN(a) && !Number.isNaN(b))

/** Settings and results of the training of a classifier. */
export type LearnSettings = Readonly<Record<string, number | string>>

/** `as` has been checked: learned classifiers have no cosines. */
const learned = (as: ScoreKind) => as as 'probability' | 'logit'

/** logits = W x + b on features before the projection (the paper's linear probe) or on embeddings. */
export class LinearProbeScorer implements Scorer {
  readonly kind = 'linear-probe'
  readonly features
  readonly classes: ScorerTensor
  readonly tensors: { bias: ScorerTensor }
  readonly settings: LearnSettings

  constructor(
    weights: ScorerTensor,
    bias: ScorerTensor,
    output: 'embedding' | 'pooled',
    normalize: boolean,
    settings: LearnSettings,
  ) {
    this.classes = weights
    this.tensors = { bias }
    this.features = { output, normalize, width: weights.shape[1]! } as const
    this.settings = settings
  }

  async best(
    loaded: Loaded,
    features: Float32Array,
    rows: number,
    k: number,
    as: ScoreKind,
    signal?: AbortSignal,
  ): Promise<Best> {
    const logits = await products(loaded, features, rows, this.classes, 1, this.tensors.bias.data)
    signal?.throwIfAborted()
    const classes = this.classes.shape[0]!
    return bestLogits(logits, rows, classes, k, learned(as), signal)
  }
}

/**
 * Tip-Adapter (Zhang et al., 2022): logits = logitScale * cosine(x, classes) + alpha * sum over keys of
 * exp(-beta (1 - x . key)) for the key's class. Keys are the examples' embeddings, fine-tuned or not.
 */
export class TipAdapterScorer implements Scorer {
  readonly kind = 'tip-adapter'
  readonly features
  readonly classes: ScorerTensor
  /** keys (n, dim); owners (n): the class of each key, as a float. */
  readonly tensors: { keys: ScorerTensor; owners: ScorerTensor }
  readonly settings: LearnSettings & { alpha: number; beta: number }

  constructor(
    classes: ScorerTensor,
    keys: ScorerTensor,
    owners: ScorerTensor,
    settings: LearnSettings & { alpha: number; beta: number },
  ) {
    this.classes = classes
    this.tensors = { keys, owners }
    this.features = { output: 'embedding', normalize: true, width: classes.shape[1]! } as const
    this.settings = settings
  }

  async best(
    loaded: Loaded,
    features: Float32Array,
    rows: number,
    k: number,
    as: ScoreKind,
    signal?: AbortSignal,
  ): Promise<Best> {
    const { keys, owners } = this.tensors
    const [logits, affinity] = await Promise.all([
      products(loaded, features, rows, this.classes, needLogitScale(loaded)),
      products(loaded, features, rows, keys, 1),
    ])
    signal?.throwIfAborted()
    const classes = this.classes.shape[0]!
    await addCache(logits, affinity, rows, classes, owners.data, this.settings, signal)
    return bestLogits(logits, rows, classes, k, learned(as), signal)
  }
}

/** scale * (features (rows, dim) . matrix (n, dim) transposed + bias (n)): (rows, n). */
export async function products(
  loaded: Loaded,
  features: Float32Array,
  rows: number,
  matrix: ScorerTensor,
  scale: number,
  bias?: Float32Array,
): Promise<Float32Array> {
  const [n, dim] = matrix.shape as [number, number]
  const out = allocate(Float32Array, 'the scores', rows, n)
  await fromNative(() =>
    binding().kernels.linear({
      x: features,
      weight: matrix.data,
      ...(bias ? { bias } : {}),
      out,
      rows,
      inFeatures: dim,
      outFeatures: n,
      activation: 'none',
      threads: loaded.model.threads,
      backend: kernelBackend(loaded),
    }),
  )
  if (scale === 1) return out
  const slices = new Slices()
  for (let from = 0; from < out.length; from += 65536) {
    for (let i = from; i < Math.min(out.length, from + 65536); i++) out[i]! *= scale
    if (slices.due()) await slices.pause()
  }
  return out
}

/** logits (rows, classes) += alpha * sum over keys of exp(-beta (1 - affinity)) at the key's class; in slices. */
export async function addCache(
  logits: Float32Array,
  affinity: Float32Array,
  rows: number,
  classes: number,
  owners: Float32Array,
  { alpha, beta }: { alpha: number; beta: number },
  signal?: AbortSignal,
): Promise<void> {
  const slices = new Slices()
  const n = owners.length
  for (let r = 0; r < rows; r++)
    for (let from = 0; from < n; from += 2048) {
      for (let i = from; i < Math.min(n, from + 2048); i++)
        logits[r * classes + owners[i]!]! += alpha * Math.exp(-beta * (1 - affinity[r * n + i]!))
      if (slices.due()) await slices.pause(signal)
    }
}
