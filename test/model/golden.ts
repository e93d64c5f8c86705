/** Reading of test/golden/icon-clip and comparison of rows of floats. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/base/package.js'

export interface GoldenEntry {
  embedding: string
  pooled: string
  tokens?: string
}

export interface Golden {
  embedDim: number
  images: (GoldenEntry & { file: string })[]
  texts: (GoldenEntry & { text: string; ids: number[] })[]
}

export const goldenFolder = join(packageRoot, 'test', 'golden', 'icon-clip')

export function readGolden(): Golden {
  return JSON.parse(readFileSync(join(goldenFolder, 'embeddings.json'), 'utf8'))
}

/** base64 of little-endian float32. */
export function floats(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64')
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
}

export const base64 = (x: Float32Array): string =>
  Buffer.from(x.buffer, x.byteOffset, x.byteLength).toString('base64')

/** How far two rows are apart once each has length 1; NaN if anything is. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): { cosine: number; maxAbs: number } {
  if (a.length !== b.length) return { cosine: Number.NaN, maxAbs: Number.NaN }
  let aa = 0
  let bb = 0
  let ab = 0
  for (let i = 0; i < a.length; i++) {
    aa += a[i] * a[i]
    bb += b[i] * b[i]
    ab += a[i] * b[i]
  }
  let maxAbs = 0
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] / Math.sqrt(aa) - b[i] / Math.sqrt(bb))
    if (!(d <= maxAbs)) maxAbs = d
  }
  return { cosine: ab / Math.sqrt(aa * bb), maxAbs }
}

export const length = (a: ArrayLike<number>): number => Math.hypot(...Array.from(a))

/** The rows of a matrix. */
export function rowsOf(x: Float32Array, width: number): Float32Array[] {
  return Array.from({ length: x.length / width }, (_, i) => x.subarray(i * width, (i + 1) * width))
}
