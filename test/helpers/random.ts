/** Seeded numbers: every run of a test sees the same ones. */

/** mulberry32: uniform in [0, 1). */
export function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/**
 * n normally distributed floats (Box-Muller). They start 4 bytes past a cache line, because a caller's arrays are not
 * aligned either.
 */
export function normal(seed: number, n: number, scale = 1): Float32Array {
  const next = generator(seed)
  const values = new Float32Array(new ArrayBuffer(4 * n + 4), 4, n)
  for (let i = 0; i < n; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - next())) * scale
    const angle = 2 * Math.PI * next()
    values[i] = radius * Math.cos(angle)
    if (i + 1 < n) values[i + 1] = radius * Math.sin(angle)
  }
  return values
}

/** n integers in [0, below). */
export function integers(seed: number, n: number, below: number): Int32Array {
  const next = generator(seed)
  return Int32Array.from({ length: n }, () => Math.floor(next() * below))
}

export function randomBytes(seed: number, n: number): Uint8Array {
  const next = generator(seed)
  return Uint8Array.from({ length: n }, () => Math.floor(next() * 256))
}
