/** The cases of attention, in words, and what the tests of every dtype make of them. */

import { casesOf } from './cases.js'
import { bound, largest, largestNorm } from './close.js'
import { normal } from './random.js'

const masks = ['full', 'causal', 'tree'] as const

export const attentionCases = casesOf('attention', {
  sequences: 0,
  length: 0,
  heads: 0,
  headDim: 0,
  mask: 0,
  ragged: 0,
  tree: 0,
  treeRows: 0,
  asking: 0,
  queries: 0,
  scale: 1,
  nan: 0,
  otherOut: 0,
}).map(({ name, heads, headDim, mask, lists, scale, nan, otherOut, ...c }) => {
  const { first, parent, queryRow } = lists!
  const rows = (first ?? parent)!.length
  return {
    name,
    rows,
    /** How many rows of q and out there are. */
    queries: queryRow?.length ?? rows,
    scale,
    nan: nan === 1,
    otherOut: otherOut === 1,
    /** What the kernel is called with, beside its matrices. */
    shape: {
      // Where all sequences are equally long, the call says so in two numbers, as callers do.
      ...(c.ragged ? { sequences: 1, length: rows, first } : { sequences: c.sequences, length: c.length }),
      heads,
      headDim,
      mask: masks[mask]!,
      parent,
      queryRow,
    },
  }
})

export type AttentionCase = (typeof attentionCases)[number]

/** Numbers for q, k and v. nan: one in each, and an infinity in v. */
export function attentionInputs(c: AttentionCase): { q: Float32Array; k: Float32Array; v: Float32Array } {
  const cols = c.shape.heads * c.shape.headDim
  const q = normal(1, c.queries * cols, c.scale)
  const k = normal(2, c.rows * cols, c.scale)
  const v = normal(3, c.rows * cols)
  if (c.nan) {
    const row = (i: number) => Math.floor(i) * cols
    q[row(c.queries / 3)] = Number.NaN
    k[row(c.rows / 2) + cols - 1] = Number.NaN
    v[row(c.rows / 2) + 1] = Number.NaN
    v[row(c.rows / 3) + 2] = Number.POSITIVE_INFINITY
    v[row(c.rows - 1) + cols / 2] = Number.NaN
  }
  return { q, k, v }
}

const finite = (x: Float32Array) => x.map(v => (Number.isFinite(v) ? v : 0))

/**
 * How far float32 sums may take a weighted mean of values whose weights come from logits with an error of their own:
 * exp(x + d) = exp(x)(1 + d), so numerator and denominator are each off by the relative error of a logit, and by their
 * own sums.
 */
export function attentionLimit(
  { rows, shape: { headDim } }: AttentionCase,
  { q, k, v }: { q: Float32Array; k: Float32Array; v: Float32Array },
  epsilon: number,
): number {
  const norms = (largestNorm(finite(q), headDim) * largestNorm(finite(k), headDim)) / Math.sqrt(headDim)
  const logit = bound(headDim, epsilon, norms)
  return (2 * logit + 2 * bound(rows, epsilon, 1) + 8 * epsilon) * largest(finite(v))
}
