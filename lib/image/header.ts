/**
 * What Pillow concludes from a file's header and sharp's metadata does not tell: PNG's colour type, GIF's palette and
 * transparent index, TIFF's photometric interpretation. And for JPEG and PNG everything else that decides how they are
 * decoded, which saves opening them twice. Every read is checked: a header cut short is "unknown".
 */

import type { Metadata } from 'sharp'

/** The part of sharp's metadata that decides how a picture is decoded. */
export type Facts = Pick<
  Metadata,
  'width' | 'height' | 'space' | 'depth' | 'channels' | 'hasAlpha' | 'isPalette' | 'bitsPerSample'
>

export interface Header {
  /** What sharp's metadata would say, where the header leaves no doubt: JPEG and PNG as nearly all are. */
  facts?: Facts
  /** 4 and 6 have a real alpha channel; any other alpha that sharp reports comes from a tRNS chunk. */
  pngColourType?: number
  gif?: GifHeader
  /** TIFF PhotometricInterpretation 3. */
  tiffPalette?: boolean
}

export interface GifHeader {
  /** Pillow opens a first frame whose palette is 0, 1, 2, ... as grey (mode L), any other as P. */
  grey: boolean
  /** What Pillow shows where the first frame is transparent or does not reach: a colour of its palette. */
  background: { r: number; g: number; b: number }
  /** The first frame's rectangle, when no pixel of it can be transparent; what lies outside is background. */
  frame?: { left: number; top: number; width: number; height: number }
}

export function readHeader(bytes: Uint8Array): Header {
  if (bytes.length > 25 && bytes[0] === 0x89 && bytes[1] === 0x50)
    return { pngColourType: bytes[25], ...facts(pngFacts(bytes)) }
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return facts(jpegFacts(bytes))
  if (bytes[0] === 0x47 && bytes[1] === 0x49 && bytes[2] === 0x46) return { gif: readGif(bytes) }
  if ((bytes[0] === 0x49 && bytes[1] === 0x49) || (bytes[0] === 0x4d && bytes[1] === 0x4d))
    return { tiffPalette: isPaletteTiff(bytes) }
  return {}
}

const facts = (found: Facts | undefined) => (found ? { facts: found } : {})

/** The frame header (SOF0, 1 or 2 with 8 bits: what libjpeg decodes) behind any number of other segments. */
function jpegFacts(bytes: Uint8Array): Facts | undefined {
  let at = 2
  while (at + 4 <= bytes.length) {
    if (bytes[at] !== 0xff) return undefined
    const marker = bytes[at + 1]!
    if (marker === 0xff) {
      at++ // any number of fill bytes
      continue
    }
    if (marker >= 0xc0 && marker <= 0xc2) {
      if (at + 10 > bytes.length || bytes[at + 4] !== 8) return undefined
      const height = word(bytes, at + 5)
      const width = word(bytes, at + 7)
      const channels = bytes[at + 9]! as 1 | 3 | 4
      const space = ({ 1: 'b-w', 3: 'srgb', 4: 'cmyk' } as const)[channels]
      // A height of 0 is said after the scan (DNL); libjpeg refuses it, in its own words.
      if (!space || width === 0 || height === 0) return undefined
      return { width, height, space, channels, depth: 'uchar', hasAlpha: false, isPalette: false }
    }
    // Other kinds of frames, or the picture's data before any: left to the decoder. C4, C8 and CC are no frames.
    const others = marker > 0xc2 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
    if (others || (marker >= 0xd0 && marker <= 0xda) || marker < 0xc0) return undefined
    const length = word(bytes, at + 2)
    if (length < 2) return undefined
    at += 2 + length
  }
  return undefined
}

const word = (bytes: Uint8Array, at: number) => (bytes[at]! << 8) | bytes[at + 1]!

/** IHDR, which must be the first chunk. */
function pngFacts(bytes: Uint8Array): Facts | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const [width, height] = [view.getUint32(16), view.getUint32(20)]
  const [bits, colourType] = [bytes[24]!, bytes[25]!]
  const channels = ({ 0: 1, 2: 3, 3: 3, 4: 2, 6: 4 } as const)[colourType]
  if (view.getUint32(0) !== 0x89504e47 || view.getUint32(4) !== 0x0d0a1a0a) return undefined
  if (view.getUint32(8) !== 13 || view.getUint32(12) !== 0x49484452) return undefined
  if (!channels || width === 0 || height === 0 || ![1, 2, 4, 8, 16].includes(bits)) return undefined
  const wide = bits === 16
  return {
    width,
    height,
    space: channels < 3 ? (wide ? 'grey16' : 'b-w') : wide ? 'rgb16' : 'srgb',
    depth: wide ? 'ushort' : 'uchar',
    channels,
    hasAlpha: colourType >= 4, // a tRNS chunk is no channel to Pillow
    isPalette: colourType === 3,
    bitsPerSample: bits,
  }
}

/** Screen descriptor, global palette, extensions up to the first image descriptor and its local palette. */
function readGif(bytes: Uint8Array): GifHeader | undefined {
  let at = 13
  let palette: Uint8Array | undefined
  const table = (flags: number) => {
    if (!(flags & 0x80)) return
    const size = 3 * 2 ** ((flags & 7) + 1)
    palette = bytes.subarray(at, at + size)
    at += size
  }
  if (bytes.length < at) return undefined
  table(bytes[10])
  let transparent: number | undefined
  let frame: GifHeader['frame']
  while (at < bytes.length) {
    const block = bytes[at++]
    if (block === 0x21) {
      const label = bytes[at++]
      if (label === 0xf9 && bytes[at] >= 4) transparent = bytes[at + 1] & 1 ? bytes[at + 4] : undefined
      while (at < bytes.length && bytes[at] !== 0) at += bytes[at] + 1
      at++
    } else if (block === 0x2c) {
      const word = (i: number) => bytes[at + i] | (bytes[at + i + 1] << 8)
      if (transparent === undefined) frame = { left: word(0), top: word(2), width: word(4), height: word(6) }
      const flags = bytes[at + 8]
      at += 9
      table(flags)
      break
    } else if (block === 0x3b) break
  }
  let grey = true
  for (let i = 0; palette && i < palette.length && grey; i++) grey = palette[i] === Math.floor(i / 3)
  const index = transparent ?? 0
  const colour = (channel: number) => (grey ? index : (palette?.[3 * index + channel] ?? 0))
  return { grey, background: { r: colour(0), g: colour(1), b: colour(2) }, ...(frame ? { frame } : {}) }
}

/** Tag 262 of the first directory; BigTIFF (version 43) is not looked into. */
function isPaletteTiff(bytes: Uint8Array): boolean | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const little = bytes[0] === 0x49
  if (bytes.length < 8 || view.getUint16(2, little) !== 42) return undefined
  const directory = view.getUint32(4, little)
  if (directory + 2 > bytes.length) return undefined
  const entries = view.getUint16(directory, little)
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + 12 * i
    if (at + 12 > bytes.length) return undefined
    if (view.getUint16(at, little) === 262) return view.getUint16(at + 8, little) === 3
  }
  return undefined
}
