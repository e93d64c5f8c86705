/** What images become, as bytes: for comparison with Pillow's. */

import { createHash } from 'node:crypto'
import type { NativeImage } from '../../lib/image/pixels.js'
import type { PreprocessSpec } from '../../lib/native/spec.js'
import { testEntries } from '../../lib/native/test-entries.js'

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
export const CHANNELS = { L: 1, LA: 2, RGB: 3, RGBA: 4, CMYK: 4, 'I;16': 1, 'I;16 dark': 1 } as const

/** The formula of make.py: the same integers. */
export function pattern(width: number, height: number, channels: number, bits: 8 | 16): Uint8Array {
  const count = width * height * channels
  const out = bits === 16 ? new Uint16Array(count) : new Uint8Array(count)
  for (let i = 0; i < count; i++) {
    const x = Math.floor(i / channels) % width
    const y = Math.floor(i / channels / width)
    const c = i % channels
    let noise = ((Math.imul(i, 2654435761 | 0) + 40503) >>> 20) & 63
    if (noise < 4) noise *= 4096
    const value = x * (3 + c) + y * 3 + noise + c * 50
    out[i] = bits === 16 ? value * 97 : value
  }
  return new Uint8Array(out.buffer)
}

/** mean 0 and std 1/255 make the planes the bytes again, within a rounding: (byte / 255) / (1 / 255). */
export async function bytesOf(
  image: NativeImage,
  spec: Pick<PreprocessSpec, 'size' | 'interpolation' | 'mode'>,
  backend: string,
): Promise<Uint8Array> {
  const out = new Float32Array(3 * spec.size * spec.size).fill(Number.NaN)
  const preprocess: PreprocessSpec = { ...spec, mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255] }
  await testEntries().kernels.preprocess({ image, preprocess, out, threads: 1, backend })
  const area = spec.size * spec.size
  const bytes = new Uint8Array(3 * area)
  for (let c = 0; c < 3; c++)
    for (let i = 0; i < area; i++) {
      const byte = Math.round(out[c * area + i])
      if (!(Math.abs(out[c * area + i] - byte) < 1e-3)) return new Uint8Array() // NaN, or no byte: equals nothing
      bytes[i * 3 + c] = byte
    }
  return bytes
}
