/**
 * What an image's header says: which format it is in, how large it is and what its decoder would need, and what Pillow
 * concludes from it that sharp's metadata does not tell. Every read is checked: a header cut short is "unknown".
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

/** Undefined for bytes of no format that is read. */
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
