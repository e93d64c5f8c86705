/** The arithmetic of evaluation, independent of models and files. */

/** The predictions of a classifier for one image: indices of the best labels, best first. */
export interface Answer {
  truth: number
  best: readonly number[]
  /** Probability of the best. */
  confidence: number
}

/** Accuracy of one class. */
export interface ClassAccuracy {
  /** The label. */
  label: string
  /** Number of images of the class. */
  count: number
  /** Number of images of the class that were classified correctly. */
  right: number
  /** right / count; null if the class has no images. */
  accuracy: number | null
}

/** Number of images of one label that were classified as another, or as the same label. */
export interface Confusion {
  /** The true label. */
  label: string
  /** The predicted label. */
  predicted: string
  /** Number of images. */
  count: number
}

/** Predictions whose probability is above `from` and at most `to`. */
export interface CalibrationBin {
  /** Probability, from 0 to 1. */
  from: number
  /** Probability, from 0 to 1. */
  to: number
  /** Number of predictions in the bin. */
  count: number
  /** Share of them that is correct; null if the bin is empty. */
  accuracy: number | null
  /** Their mean probability; null if the bin is empty. */
  confidence: number | null
}

/** Calibration of the probabilities: of predictions at 80 %, four in five should be correct. */
export interface Calibration {
  /** Expected calibration error (Guo et al., 2017): |accuracy - confidence| of the bins, averaged over predictions. */
  ece: number
  /** Fifteen bins of equal width, from 0 to 1. */
  bins: CalibrationBin[]
}

/** Results of a classification; shares are from 0 to 1. */
export interface Classification {
  /** Number of images that were classified. */
  count: number
  /** Share of images whose true label is the best prediction. */
  top1: number
  /** Share of images whose true label is among the five best predictions; 1 with five labels or fewer. */
  top5: number
  /** Mean of the accuracies of the classes that have images. */
  meanPerClass: number
  /** Accuracy of each label, in the order of the labels. */
  perClass: ClassAccuracy[]
  /** Every pair of true and predicted label that occurs, correct ones included, most frequent first. */
  confusion: Confusion[]
  /** Calibration of the probability of the best label. */
  calibration: Calibration
}

/** Accumulates predictions; memory grows with the labels and the pairs that are confused, not with the predictions. */
export class ClassificationMetrics {
  readonly #labels: readonly string[]
  readonly #counts: Int32Array
  readonly #right: Int32Array
  readonly #pairs = new Map<number, number>()
  readonly #bins: { count: number; right: number; confidence: number }[]
  #count = 0
  #top5 = 0

  constructor(labels: readonly string[], bins = 15) {
    this.#labels = labels
    this.#counts = new Int32Array(labels.length)
    this.#right = new Int32Array(labels.length)
    this.#bins = Array.from({ length: bins }, () => ({ count: 0, right: 0, confidence: 0 }))
  }

  add({ truth, best, confidence }: Answer): void {
    const first = best[0]!
    const right = Number(first === truth)
    this.#count++
    this.#counts[truth]!++
    this.#right[truth]! += right
    if (best.slice(0, 5).includes(truth)) this.#top5++
    const pair = truth * this.#labels.length + first
    this.#pairs.set(pair, (this.#pairs.get(pair) ?? 0) + 1)
    const n = this.#bins.length
    const bin = this.#bins[Math.max(0, Math.min(n - 1, Math.ceil(confidence * n) - 1))]!
    bin.count++
    bin.right += right
    bin.confidence += confidence
  }

  /** The accuracies are NaN if nothing was added. */
  result(): Classification {
    const n = this.#labels.length
    const perClass = this.#labels.map((label, i) => ({
      label,
      count: this.#counts[i]!,
      right: this.#right[i]!,
      accuracy: this.#counts[i]! > 0 ? this.#right[i]! / this.#counts[i]! : null,
    }))
    const seen = perClass.filter(c => c.count > 0)
    const bins = this.#bins.map(({ count, right, confidence }, i) => ({
      from: i / this.#bins.length,
      to: (i + 1) / this.#bins.length,
      count,
      accuracy: count > 0 ? right / count : null,
      confidence: count > 0 ? confidence / count : null,
    }))
    const gaps = bins.reduce((sum, b) => sum + b.count * Math.abs((b.accuracy ?? 0) - (b.confidence ?? 0)), 0)
    return {
      count: this.#count,
      top1: perClass.reduce((sum, c) => sum + c.right, 0) / this.#count,
      top5: this.#top5 / this.#count,
      meanPerClass: seen.reduce((sum, c) => sum + c.accuracy!, 0) / seen.length,
      perClass,
      confusion: [...this.#pairs]
        .map(([pair, count]) => ({
          label: this.#labels[Math.floor(pair / n)]!,
          predicted: this.#labels[pair % n]!,
          count,
        }))
        .sort((a, b) => b.count - a.count),
      calibration: { ece: gaps / this.#count, bins },
    }
  }
}

/** Recall: the share of queries with a correct result among the first k. */
export interface Recall {
  /** Recall at 1, from 0 to 1. */
  recall1: number
  /** Recall at 5. */
  recall5: number
  /** Recall at 10. */
  recall10: number
}

/**
 * `best`: (queries, k) indices, best first, with -1 or nothing if there are fewer; `belongs(query, item)` says whether a result
 * is correct.
 */
export function recall(
  best: ArrayLike<number>,
  queries: number,
  k: number,
  belongs: (query: number, item: number) => boolean,
): Recall {
  const found = [0, 0, 0]
  for (let q = 0; q < queries; q++)
    for (let j = 0; j < k; j++)
      if (belongs(q, best[q * k + j]!)) {
        for (const [i, most] of [1, 5, 10].entries()) if (j < most) found[i]!++
        break
      }
  return { recall1: found[0]! / queries, recall5: found[1]! / queries, recall10: found[2]! / queries }
}

/** A random number generator in [0, 1) (mulberry32), with the same numbers for the same seed on every platform. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Sorted indices of up to `shots` examples per label, drawn without replacement. If possible, one of each label is left over. */
export function drawShots(labels: readonly string[], shots: number, seed: number, leave = 1): number[] {
  const byLabel = new Map<string, number[]>()
  labels.forEach((label, i) => {
    const list = byLabel.get(label)
    if (list) list.push(i)
    else byLabel.set(label, [i])
  })
  const random = seededRandom(seed)
  const drawn: number[] = []
  for (const list of byLabel.values()) {
    const take = Math.min(shots, Math.max(1, list.length - leave))
    for (let i = 0; i < take; i++) {
      const j = i + Math.floor(random() * (list.length - i))
      ;[list[i], list[j]] = [list[j]!, list[i]!]
      drawn.push(list[i]!)
    }
  }
  return drawn.sort((a, b) => a - b)
}
