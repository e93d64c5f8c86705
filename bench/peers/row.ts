/** One line of the table of DESIGN.md section 6. */

import { median, spread } from '../stats.js'

/** NaN: nothing was asked. */
export interface Bar {
  required: number
  goal: number
  /** Past it is physics. */
  limit?: number
}

export interface Row {
  /** Group of rows: image, text, classifier, topk, jpeg, start, memory, blocking. */
  group: string
  what: string
  dtype: string
  threads: number
  /** 'higher': ours is so many times as fast; 'lower': ours takes that part of the rival's; 'ms': milliseconds. */
  unit: 'higher' | 'lower' | 'ms' | 'percent'
  bar: Bar
  measured?: number
  /** First and third quartile of the ratios. */
  spread?: [number, number]
  /** ms (or bytes for memory) of each side, medians. */
  ours?: number
  rival?: number
  /** Least cosine between the answers of both sides, before anything was timed. */
  cosine?: number
  /** The ratio in processor time of all threads: what a busy machine disturbs least. Says nothing about waiting threads. */
  cpuRatio?: number
  /** Ratios that were measured. */
  samples?: number
  rivalSettings: string
  /** Why there is no figure. */
  missing?: string
  note?: string
}

/** What `measured` says: it is better to be above, or below. */
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
