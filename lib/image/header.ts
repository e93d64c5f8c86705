/**
 * Reads an image's header: its format, its dimensions, the memory its decoder needs, and the properties that decide Pillow's
 * mode but are missing in sharp's metadata. Every read is bounds-checked: a truncated header counts as "unknown".
 */

import { readBmp } from './formats/bmp.js'
import type { Header } from './formats/facts.js'
import { readGif } from './formats/gif.js'
import { readHeif } from './formats/heif.js'
import { readJpeg } from './formats/jpeg.js'
import { readPng } from './formats/png.js'
import { recognise } from './formats/recognise.js'
import { readTiff } from './formats/tiff.js'
import { readWebp } from './formats/webp.js'

export type { Facts, Header } from './formats/facts.js'

/** Undefined if the format is not supported. */
export function readHeader(bytes: Uint8Array): Header | undefined {
  const format = recognise(bytes)
  switch (format) {
    case 'JPEG':
      return readJpeg(bytes)
    case 'PNG':
      return readPng(bytes)
    case 'GIF':
      return readGif(bytes)
    case 'WebP':
      return readWebp(bytes)
    case 'TIFF':
      return readTiff(bytes)
    case 'BMP':
      return readBmp(bytes)
    case 'AVIF':
    case 'HEIC':
      return readHeif(bytes, format)
    case 'SVG':
      return { format, decoderBytes: () => 0 }
    default:
      return undefined
  }
}
