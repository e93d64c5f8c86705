/** One row of the comparison. */

import { median, spread } from '../stats.js'

/** The targets of a row. NaN: there is none. */
export interface Bar {
  required: number
  goal: number
  /** The physical limit. */
  limit?: number
}

export interface Row {
  /** Group of rows: image, text, classifier, topk, jpeg, start, memory, blocking. */
  group: string
  what: string
  dtype: string
  threads: number
  /** 'higher': how many times as fast ours is; 'lower': ours as a fraction of the other side; 'ms': milliseconds. */
  unit: 'higher' | 'lower' | 'ms' | 'percent'
  bar: Bar
  measured?: number
  /** First and third quartile of the ratios. */
  spread?: [number, number]
  /** ms (or bytes for memory) of each side, medians. */
  ours?: number
  rival?: number
  /** Smallest cosine between the results of both sides, computed before anything is timed. */
  cosine?: number
  /**
   * The ratio in processor time of all threads, which a busy machine disturbs least. It does not show waiting
   * threads.
   */
  cpuRatio?: number
  /** Number of measured ratios. */
  samples?: number
  rivalSettings: string
  /** Why there is no figure. */
  missing?: string
  note?: string
}

/** Whether `measured` is better if it is higher or if it is lower. */
export const better = (row: Row): 'higher' | 'lower' =>
  row.unit === 'higher' || row.unit === 'percent' ? 'higher' : 'lower'

export function verdict(row: Row): string {
  if (row.missing !== undefined) return row.missing
  if (row.measured === undefined || Number.isNaN(row.measured)) return 'no figure'
  if (Number.isNaN(row.bar.required)) return ''
  const reaches = (bar: number) => (better(row) === 'higher' ? row.measured! >= bar : row.measured! <= bar)
  return reaches(row.bar.goal) ? 'goal' : reaches(row.bar.required) ? 'required' : 'below'
}

/** Fills the figures of a row from ratios measured side by side. */
export function measured(row: Row, ratio: number[], ours: number[], rival: number[]): Row {
  if (ratio.length === 0) return { ...row, missing: row.missing ?? 'no figure' }
  return {
    ...row,
    measured: median(ratio),
    spread: spread(ratio),
    ours: median(ours),
    rival: median(rival),
    samples: ratio.length,
  }
}
