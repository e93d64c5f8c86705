/** The two heads that examples make. How they are learned is in lib/learn/; this is how they score. */

import { binding, fromNative } from './binding.js'
import { type Loaded, needLogitScale } from './encode.js'
import { type Best, bestLogits, type Head, type HeadTensor } from './head.js'
import { kernelBackend, type ScoreKind } from './similarity.js'
import { Slices } from './slices.js'

/** Numbers that a learned classifier was made with, and how that ended. */
export type LearnSettings = Readonly<Record<string, number | string>>

/** `as` has been checked: what is learned has no cosines. */
const learned = (as: ScoreKind) => as as 'probability' | 'logit'

/** logits = W x + b on features before the projection (the paper's linear probe) or on embeddings. */
export class LinearProbeHead implements Head {
  readonly kind = 'linear-probe'
  readonly features
  readonly classes: HeadTensor
  readonly tensors: { bias: HeadTensor }
  readonly settings: LearnSettings

  constructor(
    weights: HeadTensor,
    bias: HeadTensor,
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
 * exp(-beta (1 - x . key)) for the key's class. Keys are the examples' embeddings, or what fine-tuning made of them.
 */
export class TipAdapterHead implements Head {
  readonly kind = 'tip-adapter'
  readonly features
  readonly classes: HeadTensor
  /** keys (n, dim); owners (n): the class of each key, as a float. */
  readonly tensors: { keys: HeadTensor; owners: HeadTensor }
  readonly settings: LearnSettings & { alpha: number; beta: number }

  constructor(
    classes: HeadTensor,
    keys: HeadTensor,
    owners: HeadTensor,
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
  matrix: HeadTensor,
  scale: number,
  bias?: Float32Array,
): Promise<Float32Array> {
  const [n, dim] = matrix.shape as [number, number]
  const out = new Float32Array(rows * n)
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
