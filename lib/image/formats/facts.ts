/** What the header of a file says, before any decoder sees it. */

import type { Metadata } from 'sharp'
import type { Format } from './recognise.js'

/** The part of sharp's metadata that decides how an image is decoded. */
export type Facts = Pick<
  Metadata,
  'width' | 'height' | 'space' | 'depth' | 'channels' | 'hasAlpha' | 'isPalette' | 'bitsPerSample'
>

/** Memory that the decoder of an image of this size holds at once, its output included. */
export type DecoderBytes = (width: number, height: number) => number

export interface Header {
  format: Format
  /** Sides of the image, or more where a part of the file is larger; undefined when only the decoder can tell. */
  size?: { width: number; height: number }
  decoderBytes: DecoderBytes
  /** Why such a file is refused though its size is right. */
  refused?: string
  /** What sharp's metadata would say, where the header leaves no doubt: JPEG and PNG as nearly all are. */
  facts?: Facts
  /** 4 and 6 have a real alpha channel; any other alpha that sharp reports comes from a tRNS chunk. */
  pngColourType?: number
  /** A tRNS chunk: colours that are transparent, which Pillow's convert('RGB') ignores. */
  transparentColours?: boolean
  gif?: GifHeader
  tiff?: TiffHeader
  /** Scans of a JPEG that may follow, counted from here. */
  scans?: { from: number; most: number }
  /** What the decoder is not given. */
  edit?: Edit
  /** The same without what turns the image, for decoders that turn it unasked. */
  unturn?: Edit
}

/** How the decoder's copy of a file differs from the file. */
export interface Edit {
  /** Pieces [from, to) of the file, in their order. */
  pieces: [from: number, to: number][]
  /** Bytes behind the last piece. */
  tail?: number[]
  /** Bytes to overwrite, by their position in the file: only where all of it is one piece. */
  patches?: [at: number, bytes: number[]][]
}

export interface GifHeader {
  /** Pillow opens a first frame whose palette is 0, 1, 2, ... as grey (mode L), any other as P. */
  grey: boolean
  /** What Pillow shows where the first frame is transparent or does not reach: a colour of its palette. */
  background: { r: number; g: number; b: number }
  /** The first frame has a transparent colour. */
  transparent: boolean
  /** The first frame's rectangle, when no pixel of it can be transparent; what lies outside is background. */
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
 * A decoder that goes from row to row: the output, and the rows that libvips keeps in flight. Measured with sharp 0.35
 * (libvips 8.18); so are the figures of the other formats.
 */
export const rowByRow =
  (outBytes: number, inBytes = outBytes): DecoderBytes =>
  (width, height) =>
    width * (height * outBytes + Math.min(height, 512) * inBytes)

export const word = (bytes: Uint8Array, at: number) => (bytes[at]! << 8) | bytes[at + 1]!

export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
