/** Converts a decoder's samples to those of a mode: keeps the first few of each pixel, as bytes. */

import { allocate } from '../base/allocate.js'
import type { Steps } from '../base/slices.js'

export interface Regroup {
  /** Number of samples per pixel to keep. */
  keep: number
  /** The samples have 16 bits; Pillow keeps the high byte. */
  wide?: boolean
  /** The colours are premultiplied with alpha; Pillow divides them in 8-bit arithmetic. */
  premultiplied?: boolean
}

/** Pixels processed between two checks of the clock. */
const PIECE = 8192

export function* regroup(data: Uint8Array, pixels: number, how: Regroup): Steps<Uint8Array> {
  const { keep, wide, premultiplied } = how
  const source = wide ? new Uint16Array(data.buffer, data.byteOffset, data.byteLength >> 1) : data
  const shift = wide ? 8 : 0
  const given = source.length / pixels
  const out = allocate(Uint8Array, 'the pixels', pixels, keep)
  for (let start = 0; start < pixels; start += PIECE) {
    const end = Math.min(pixels, start + PIECE)
    for (let i = start; i < end; i++) {
      for (let c = 0; c < keep; c++) out[keep * i + c] = source[given * i + c]! >> shift
      if (!premultiplied) continue
      const alpha = out[keep * i + keep - 1]!
      for (let c = 0; c < keep - 1; c++)
        out[keep * i + c] = alpha === 0 ? 0 : Math.min(255, Math.floor((out[keep * i + c]! * 255) / alpha))
      if (alpha === 0) out[keep * i + keep - 1] = 0
    }
    yield
  }
  return out
}
