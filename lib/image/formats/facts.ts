/** Facts that are read from a file's header before any decoder gets the file. */

import type { Metadata } from 'sharp'
import type { Format } from './recognise.js'

/** The part of sharp's metadata that decides how an image is decoded. */
export type Facts = Pick<
  Metadata,
  'width' | 'height' | 'space' | 'depth' | 'channels' | 'hasAlpha' | 'isPalette' | 'bitsPerSample'
>

/** Peak memory of the decoder for an image of this size, including its output. */
export type DecoderBytes = (width: number, height: number) => number

export interface Header {
  format: Format
  /** Dimensions of the image, or larger ones if a part of the file is larger; undefined if only the decoder can tell. */
  size?: { width: number; height: number }
  decoderBytes: DecoderBytes
  /** Why the file is refused although its size is acceptable. */
  refused?: string
  /** The result of sharp's metadata(), if the header determines it, as for nearly all JPEG and PNG files. */
  facts?: Facts
  /** Types 4 and 6 have a real alpha channel; any other alpha that sharp reports comes from a tRNS chunk. */
  pngColourType?: number
  /** The file has a tRNS chunk (transparent colours), which Pillow's convert('RGB') ignores. */
  transparentColours?: boolean
  gif?: GifHeader
  tiff?: TiffHeader
  /** For a JPEG: the offset from which its scans are counted, and their maximum number. */
  scans?: { from: number; most: number }
  /** For a JPEG or WebP that its decoder can also give at a fraction of its size. */
  scaled?: {
    /** Peak memory of the decoder if the result has this size. */
    decoderBytes: DecoderBytes
    /** Only JPEG: the offset of the height and the width in the file, 2 bytes each. */
    sizeAt?: number
  }
  /** Changes to the file before the decoder gets it. */
  edit?: Edit
  /** The same without the data that rotates the image, for decoders that always apply it. */
  unturn?: Edit
}

/** How the decoder's copy of a file differs from the file. */
export interface Edit {
  /** Pieces [from, to) of the file, in their order. */
  pieces: [from: number, to: number][]
  /** Bytes to append after the last piece. */
  tail?: number[]
  /** Bytes to overwrite, by their offset in the file; only if the file is one piece. */
  patches?: [at: number, bytes: number[]][]
}

export interface GifHeader {
  /** Whether the palette is 0, 1, 2, ...: Pillow then opens the first frame as grey (mode L), otherwise as P. */
  grey: boolean
  /** The palette colour that Pillow uses where the first frame is transparent or does not cover the canvas. */
  background: { r: number; g: number; b: number }
  /** The first frame has a transparent colour. */
  transparent: boolean
  /** The first frame's rectangle, if none of its pixels can be transparent; the area outside it is background. */
  frame?: { left: number; top: number; width: number; height: number }
}

export interface TiffHeader {
  /** PhotometricInterpretation: 0 white is 0, 1 black is 0, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab. */
  photometric: number
  /** Bits of each sample. */
  bits: readonly number[]
  /** SampleFormat of the first sample: 1 unsigned, 2 signed, 3 floating point. */
  sampleFormat: number
  /** ExtraSamples: 0 unspecified, 1 associated alpha, 2 alpha. */
  extraSamples: readonly number[]
  compression: number
  /** 1 when there is none. */
  orientation: number
}

/**
 * Memory of a decoder that works row by row: the output, and the rows that libvips buffers. This figure and those of the other
 * formats were measured with sharp 0.35 (libvips 8.18).
 */
export const rowByRow =
  (outBytes: number, inBytes = outBytes): DecoderBytes =>
  (width, height) =>
    width * (height * outBytes + Math.min(height, 512) * inBytes)

export const word = (bytes: Uint8Array, at: number) => (bytes[at]! << 8) | bytes[at + 1]!

export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
