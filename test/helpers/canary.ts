/** Output arrays that notice when somebody writes beside them. */

import type { ExecutionContext } from 'ava'

const before = 19 // elements, odd: the array is not aligned to a cache line either
const after = 67
const guard = 0xa5

export interface Canary<T> {
  array: T
  /** Fails when a byte before or after the array has changed. */
  check(t: ExecutionContext): void
}

function embed<T extends Float32Array | Int32Array | Uint8Array>(
  make: (buffer: ArrayBuffer, offset: number, n: number) => T,
  size: number,
  n: number,
): Canary<T> {
  const buffer = new ArrayBuffer((before + n + after) * size)
  const all = new Uint8Array(buffer).fill(guard)
  const array = make(buffer, before * size, n)
  return {
    array,
    check(t) {
      const at = all.findIndex((v, i) => v !== guard && (i < before * size || i >= (before + n) * size))
      if (at >= 0) t.fail(`wrote outside: element ${Math.floor(at / size) - before} of ${n}`)
      t.pass()
    },
  }
}

/** n floats that are NaN until somebody writes them: a forgotten element fails every comparison. */
export function canaryFloats(n: number): Canary<Float32Array> {
  const canary = embed((b, o, n) => new Float32Array(b, o, n), 4, n)
  canary.array.fill(Number.NaN)
  return canary
}

export function canaryIntegers(n: number): Canary<Int32Array> {
  const canary = embed((b, o, n) => new Int32Array(b, o, n), 4, n)
  canary.array.fill(-1)
  return canary
}

export const canaryBytes = (n: number): Canary<Uint8Array> =>
  embed((b, o, n) => new Uint8Array(b, o, n), 1, n)
