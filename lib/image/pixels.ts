/** Decoded images for native code: pixels in the mode in which Pillow would resize them. */

export type PixelMode = 'L' | 'LA' | 'RGB' | 'RGBA' | 'CMYK' | 'I;16'

/** A rectangle of an image, in pixels. */
export interface ImagePart {
  left: number
  top: number
  width: number
  height: number
}

export interface DecodedImage {
  /** Rows without padding, interleaved channels; bytes, or uint16 in native byte order for I;16. */
  data: Uint8Array
  /** Of the whole image. */
  width: number
  height: number
  /** The part of the image that `data` holds, if it is not the whole image. Only for modes L, RGB and CMYK without `nearest`. */
  part?: ImagePart
  /**
   * Where the image ends in its last column and row, if not at their end: an image of 427 rows has 53.375 of them at 1/8,
   * in 54 rows of pixels. As the `box` of Pillow's `resize`. Not with `nearest`, alpha or I;16.
   */
  endColumn?: number
  endRow?: number
  mode: PixelMode
  /** Pillow always resizes palette and 1-bit images with NEAREST. */
  nearest?: boolean
  /** Decoded here and not shared: native code detaches the buffer after reading it. */
  ours?: boolean
}

/** Already preprocessed: (3, size, size) float32 planes. */
export interface PlanesImage {
  planes: Float32Array
}

export type NativeImage = DecodedImage | PlanesImage

const copies = new WeakSet<ArrayBufferLike>()

/** A copy of a caller's pixels. */
export function copyOf(data: Uint8Array | Uint8ClampedArray): Uint8Array {
  const copy = new Uint8Array(data.byteLength)
  copy.set(data)
  copies.add(copy.buffer)
  return copy
}

/** Whether these pixels are a private copy. */
export const isCopy = (data: Uint8Array | Uint8ClampedArray): boolean => copies.has(data.buffer)
