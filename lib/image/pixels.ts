/** What decoding hands to native code: pixels in the mode in which Pillow would resize them. */

export type PixelMode = 'L' | 'LA' | 'RGB' | 'RGBA' | 'CMYK' | 'I;16'

export interface DecodedImage {
  /** Rows without padding, interleaved channels; bytes, or uint16 in native byte order for I;16. */
  data: Uint8Array
  width: number
  height: number
  mode: PixelMode
  /** Pillow resizes palette and 1-bit pictures with NEAREST whatever is asked. */
  nearest?: boolean
  /** Decoded here and nobody else's: native code detaches the buffer when it has read it. */
  ours?: boolean
}

/** Already preprocessed: (3, size, size) float32 planes. */
export interface PlanesImage {
  planes: Float32Array
}

export type NativeImage = DecodedImage | PlanesImage
