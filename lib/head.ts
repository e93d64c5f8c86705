/**
 * What stands between features of pictures and scores of labels: class embeddings (zero-shot), a linear probe or a
 * Tip-Adapter. A head knows its arithmetic and its tensors; labels, pictures and files are the classifier's.
 */

import { binding, fromNative } from './binding.js'
import { type Loaded, needLogitScale } from './encode.js'
import { kernelBackend, type ScoreKind } from './similarity.js'
import { Slices } from './slices.js'

/** How a classifier scores: from class names, or learned from examples. */
export type HeadKind = 'zero-shot' | 'linear-probe' | 'tip-adapter'

export interface HeadTensor {
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

export interface Head {
  readonly kind: HeadKind
  /** What it reads: `output` and `normalize` of encodeImage, and how wide that is. */
  readonly features: { output: 'embedding' | 'pooled'; normalize: boolean; width: number }
  /** (classes, width): what a picture is compared with; of a linear probe its weights. */
  readonly classes: HeadTensor
  /** What a file holds beside `classes`. */
  readonly tensors: Readonly<Record<string, HeadTensor>>
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

/** Class embeddings of length 1: score = logitScale * cosine, as in the paper's section 3.1.2. */
export class ZeroShotHead implements Head {
  readonly kind = 'zero-shot'
  readonly features
  readonly classes: HeadTensor
  readonly tensors = {}
  readonly settings = {}

  constructor(classes: HeadTensor) {
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
    const index = new Int32Array(rows * k)
    const value = new Float32Array(rows * k)
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
        logitScale: as === 'cosine' ? 1 : needLogitScale(loaded),
        as,
        threads: loaded.model.threads,
        backend: kernelBackend(loaded),
      }),
    )
    signal?.throwIfAborted()
    return { index, value }
  }
}

/**
 * The k best of each row of (rows, classes) logits; ties by lower index. Probabilities are the softmax over all classes.
 * A NaN makes every probability of its row NaN.
 */
export async function bestLogits(
  logits: Float32Array,
  rows: number,
  classes: number,
  k: number,
  as: 'probability' | 'logit',
  signal?: AbortSignal,
): Promise<Best> {
  const index = new Int32Array(rows * k)
  const value = new Float32Array(rows * k)
  const slices = new Slices()
  for (let r = 0; r < rows; r++) {
    const row = logits.subarray(r * classes, (r + 1) * classes)
    const chosen = index.subarray(r * k, (r + 1) * k)
    let count = 0
    let top = Number.NEGATIVE_INFINITY
    for (let c = 0; c < classes; c++) {
      const logit = row[c]!
      if (!(logit <= top)) top = logit
      if (count === k && !before(logit, row[chosen[k - 1]!]!)) continue
      let at = count === k ? k - 1 : count++
      for (; at > 0 && before(logit, row[chosen[at - 1]!]!); at--) chosen[at] = chosen[at - 1]!
      chosen[at] = c
    }
    let sum = 0
    if (as === 'probability') for (const logit of row) sum += Math.exp(logit - top)
    for (let j = 0; j < k; j++) {
      const logit = row[chosen[j]!]!
      value[r * k + j] = as === 'logit' ? logit : Math.exp(logit - top) / sum
    }
    if (slices.due()) await slices.pause(signal)
  }
  return { index, value }
}

/** Best first; NaN counts as best, as in cosineTopK (and torch.topk). */
const before = (a: number, b: number) => a > b || (Number.isNaN(a) && !Number.isNaN(b))
