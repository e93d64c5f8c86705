/** Comparing arrays of floats: with a derived bound, or byte by byte. */

import type { ExecutionContext } from 'ava'

/**
 * How far a float32 computation of a sum of n products may be from the exact one: k · √n · ε · |x| · |w|.
 *
 * Each of the n roundings is off by at most ε times a partial sum that is itself at most |x| · |w| (Cauchy and
 * Schwarz); as the roundings are as good as independent, their sum grows with √n (Higham and Mary 2019: the worst
 * case, n, needs them all to point one way). k = 4 is four standard deviations of that walk; measured errors are
 * below a tenth of the bound, so a mistake in the order of one product still shows.
 */
export const bound = (reductionLength: number, epsilon: number, norms: number): number =>
  4 * Math.sqrt(reductionLength) * epsilon * norms

/** The largest Euclidean norm of the rows. */
export function largestNorm(x: Float32Array, cols: number): number {
  let largest = 0
  for (let start = 0; start < x.length; start += cols) {
    let sum = 0
    for (let i = start; i < start + cols; i++) sum += x[i] * x[i]
    largest = Math.max(largest, Math.sqrt(sum))
  }
  return largest
}

export function largest(x: Float32Array): number {
  let most = 0
  for (const v of x) most = Math.max(most, Math.abs(v))
  return most
}

/**
 * Every got[i] is within the bound of want[i]; a NaN matches only a NaN, an infinity only the same one. Says where
 * the worst element is.
 */
export function close(
  t: ExecutionContext,
  got: Float32Array,
  want: Float32Array,
  limit: number | ((i: number) => number),
  what = 'values',
): void {
  if (got.length !== want.length) t.fail(`${what}: ${got.length} elements instead of ${want.length}`)
  const boundOf = typeof limit === 'number' ? () => limit : limit
  let worst = -1
  let worstExcess = 0
  for (let i = 0; i < want.length; i++) {
    if (Object.is(got[i], want[i]) || got[i] === want[i]) continue
    // Written so that NaN fails.
    const excess = Math.abs(got[i] - want[i]) / boundOf(i)
    if (excess <= 1) continue
    if (worst < 0 || !(excess <= worstExcess)) {
      worst = i
      worstExcess = excess
    }
  }
  if (worst >= 0)
    t.fail(
      `${what}[${worst}]: got ${got[worst]}, want ${want[worst]}, ${worstExcess.toPrecision(4)} times the bound ${boundOf(worst)}`,
    )
  t.pass()
}

/** The same bytes. */
export function sameBytes(
  t: ExecutionContext,
  got: ArrayBufferView,
  want: ArrayBufferView,
  what = 'bytes',
): void {
  const a = new Uint8Array(got.buffer, got.byteOffset, got.byteLength)
  const b = new Uint8Array(want.buffer, want.byteOffset, want.byteLength)
  if (a.length !== b.length) t.fail(`${what}: ${a.length} bytes instead of ${b.length}`)
  const at = a.findIndex((v, i) => v !== b[i])
  if (at >= 0) {
    const element = got instanceof Uint8Array ? at : Math.floor(at / 4)
    const value = (view: ArrayBufferView) => (view as Float32Array)[element]
    t.fail(`${what}[${element}]: ${value(got)} instead of ${value(want)}`)
  }
  t.pass()
}
