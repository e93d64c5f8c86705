/**
 * `decode: 'fast'`: JPEG and WebP are decoded at 1/2, 1/4 or 1/8 of their size, and then resized exactly as a whole image
 * is. libjpeg scales in the inverse DCT: the result is that of Pillow's `Image.draft`, byte for byte. libwebp averages rows
 * as it decodes them. A WebP with transparency or several frames is decoded whole, and so are all other formats.
 */

import { allocate } from '../base/allocate.js'
import type { Scale, ScaledDecoder } from './decode-mode.js'
import type { Facts, Header } from './formats/facts.js'
import type { DecodedImage, PixelMode } from './pixels.js'

/** An image that is decoded at a fraction of its size. */
export interface ScaledPlan {
  format: 'JPEG' | 'WebP'
  scale: Scale
  width: number
  height: number
  /** Where the image ends, in such pixels. */
  endColumn: number
  endRow: number
  channels: number
  /** Memory of the decoder, with its result. */
  bytes: number
}

/** A model's input, as far as it decides how large an image must be. */
interface Input {
  size: number
  interpolation: string
  mode: 'shortest' | 'squash' | 'longest'
}

/** The smallest fraction that leaves at least twice the size to which the model's preprocessing resizes, in both directions. */
export function scaleFor({ size, interpolation, mode }: Input, width: number, height: number): Scale | 1 {
  // NEAREST takes single pixels of the image, which are not those of a smaller one.
  if (interpolation === 'nearest') return 1
  const side = mode === 'longest' ? Math.max(width, height) : Math.min(width, height)
  return ([8, 4, 2] as const).find(scale => side >= 2 * size * scale) ?? 1
}

/** Undefined if the image is decoded whole. */
export function planScaled(
  { width, height, channels }: Facts,
  { format, scaled }: Header,
  mode: PixelMode,
  turn: boolean,
  decoder: ScaledDecoder | undefined,
): ScaledPlan | undefined {
  if (!decoder || !scaled || (mode !== 'L' && mode !== 'RGB' && mode !== 'CMYK')) return undefined
  const scale = decoder.scaleOf(width, height)
  if (scale === 1) return undefined
  // sharp's `resize` is of the image as it is after it was turned, and the header does not say how it will be.
  if (format === 'WebP' ? turn : !decoder.isAvailable()) return undefined
  const [w, h] = [Math.ceil(width / scale), Math.ceil(height / scale)]
  return {
    format: format as 'JPEG' | 'WebP',
    scale,
    width: w,
    height: h,
    endColumn: width / scale,
    endRow: height / scale,
    channels,
    bytes: scaled.decoderBytes(w, h),
  }
}

/**
 * sharp decodes a WebP at the size that it is to have, and then resizes what is left: nothing, if only the longer side is
 * given, because the other one follows from it in the same way.
 */
export const webpResize = ({ width, height }: ScaledPlan) => (width >= height ? { width } : { height })

/** Undefined if the decoder refuses the file. `bytes` are nobody else's, and are changed. */
export async function decodeScaled(
  bytes: Uint8Array,
  plan: ScaledPlan,
  { scaled }: Header,
  decoder: ScaledDecoder,
  turn: boolean,
  milliseconds: number,
): Promise<Omit<DecodedImage, 'mode'> | undefined> {
  const { scale, width, height, channels, endColumn, endRow } = plan
  // libvips leaves out the last pixel of a row or column that is not whole, where libjpeg and Pillow have one. In a file of
  // a whole number of them, which has the same blocks, it is there.
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  view.setUint16(scaled!.sizeAt!, height * scale)
  view.setUint16(scaled!.sizeAt! + 2, width * scale)
  const data = allocate(Uint8Array, 'the pixels', height, width, channels)
  const across = await decoder.decode({
    bytes,
    scale,
    turn,
    width,
    height,
    channels,
    out: data,
    milliseconds,
  })
  if (across === 0) return undefined
  const image = { data, width: across, height: (width * height) / across, ours: true }
  // What is not of the image may lie at its beginning after it was turned.
  return turn ? image : { ...image, endColumn, endRow }
}
