/**
 * The two ways to decode an image, and the decoder that the fast one needs. What implements them is in scaled.ts, because
 * public declarations must not need sharp's types.
 */

/** How images are decoded. */
export type DecodeMode = 'exact' | 'fast'
export const decodeModes = ['exact', 'fast'] as const

export type Scale = 2 | 4 | 8

/** What decodes JPEG: native code, which this room does not know. sharp scales WebP, but JPEG only with a resize of its own. */
export interface ScaledDecoder {
  /** 1 / scale of the size is enough for an image of this size; 1 if the whole is needed. */
  scaleOf(width: number, height: number): Scale | 1
  /** Whether `decode` can run in this process, once sharp has been loaded. */
  isAvailable(): boolean
  /** The width of the image that `out` then holds, or 0 if the file is refused. */
  decode(job: {
    bytes: Uint8Array
    scale: Scale
    turn: boolean
    width: number
    height: number
    channels: number
    out: Uint8Array
    milliseconds: number
  }): Promise<number>
}
