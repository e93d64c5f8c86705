/**
 * Recognises the format of an image by its bytes. This is an allow-list: other formats never reach a decoder, even if the
 * libvips of this machine supports them.
 */

export type Format = 'JPEG' | 'PNG' | 'WebP' | 'GIF' | 'TIFF' | 'AVIF' | 'HEIC' | 'BMP' | 'SVG'

/** Names for messages. */
export const FORMATS = 'a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF image'

const at = (bytes: Uint8Array, start: number, length: number) =>
  String.fromCharCode(...bytes.subarray(start, start + length))

const starts = (bytes: Uint8Array, ...head: number[]) => head.every((byte, i) => bytes[i] === byte)

/** Brands of ISO base media files (ISO/IEC 23000-22 and 14496-12) whose images are coded with AV1, and with HEVC. */
const AV1 = new Set(['avif', 'avis', 'MA1B', 'MA1A'])
const HEVC = new Set(['heic', 'heix', 'heim', 'heis', 'hevc', 'hevx', 'hevm', 'hevs'])

/** The brands of `ftyp`, the major one first; none if it is not such a file. */
function brands(bytes: Uint8Array): string[] {
  if (bytes.length < 16 || at(bytes, 4, 4) !== 'ftyp') return []
  const size = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0)
  const end = Math.min(size, bytes.length, 256)
  const found = [at(bytes, 8, 4)]
  for (let i = 16; i + 4 <= end; i += 4) found.push(at(bytes, i, 4))
  return found
}

/** The format, or undefined. SVG is recognised whatever it is wrapped in: see {@link looksLikeMarkup}. */
export function recognise(bytes: Uint8Array): Format | undefined {
  if (starts(bytes, 0xff, 0xd8)) return 'JPEG'
  if (starts(bytes, 0x89, 0x50, 0x4e, 0x47)) return 'PNG'
  if (at(bytes, 0, 4) === 'RIFF' && at(bytes, 8, 4) === 'WEBP') return 'WebP'
  if (at(bytes, 0, 4) === 'GIF8') return 'GIF'
  const version = starts(bytes, 0x49, 0x49) ? bytes[2]! : starts(bytes, 0x4d, 0x4d) ? bytes[3]! : 0
  if (version === 42 || version === 43) return 'TIFF'
  const [major, ...compatible] = brands(bytes)
  if (major !== undefined) {
    const all = [major, ...compatible]
    if (AV1.has(major)) return 'AVIF'
    if (HEVC.has(major)) return 'HEIC'
    if (all.some(brand => AV1.has(brand))) return 'AVIF'
    return all.some(brand => HEVC.has(brand)) ? 'HEIC' : undefined
  }
  if (starts(bytes, 0x42, 0x4d)) return 'BMP'
  return looksLikeMarkup(bytes) ? 'SVG' : undefined
}

/**
 * Recognises SVG and any other XML, and compressed SVG (.svgz): the first character is `<` after any number of blanks and byte
 * order marks, in UTF-8, UTF-16 or UTF-32, or the data has a gzip header. No other format on the list begins like this.
 */
function looksLikeMarkup(bytes: Uint8Array): boolean {
  if (starts(bytes, 0x1f, 0x8b)) return true
  // Zero bytes belong to UTF-16 and UTF-32 characters; EF BB BF, FE FF and FF FE are byte order marks.
  const skipped = new Set([0, 9, 10, 11, 12, 13, 32, 0xef, 0xbb, 0xbf, 0xfe, 0xff])
  let i = 0
  const end = Math.min(bytes.length, 1 << 20)
  while (i < end && skipped.has(bytes[i]!)) i++
  return bytes[i] === 0x3c || (i === end && end === 1 << 20)
}

/** Common formats that are not supported, for a message that says more than "not an image". */
const OTHERS: [name: string, matches: (bytes: Uint8Array) => boolean][] = [
  ['PDF document', bytes => at(bytes, 0, 1024).includes('%PDF-')],
  ['PostScript file', bytes => at(bytes, 0, 4) === '%!PS' || starts(bytes, 0xc5, 0xd0, 0xd3, 0xc6)],
  ['JPEG XL image', bytes => starts(bytes, 0xff, 0x0a) || at(bytes, 4, 4) === 'JXL '],
  ['JPEG 2000 image', bytes => at(bytes, 4, 4) === 'jP  ' || starts(bytes, 0xff, 0x4f, 0xff, 0x51)],
  ['Photoshop file', bytes => at(bytes, 0, 4) === '8BPS'],
  ['Windows icon', bytes => starts(bytes, 0, 0, 1, 0) || starts(bytes, 0, 0, 2, 0)],
  ['FITS file', bytes => at(bytes, 0, 6) === 'SIMPLE'],
  ['Netpbm image', bytes => /^P[1-7fF][\s#]/.test(at(bytes, 0, 3))],
  ['Radiance image', bytes => at(bytes, 0, 2) === '#?'],
  ['OpenEXR image', bytes => starts(bytes, 0x76, 0x2f, 0x31, 0x01)],
  ['MATLAB file', bytes => at(bytes, 0, 6) === 'MATLAB'],
  ['video', bytes => at(bytes, 4, 4) === 'ftyp' || starts(bytes, 0x1a, 0x45, 0xdf, 0xa3)],
  ['zip archive', bytes => starts(bytes, 0x50, 0x4b, 3, 4)],
  ['libvips file', bytes => starts(bytes, 0x08, 0xf2, 0xa6, 0xb6) || starts(bytes, 0xb6, 0xa6, 0xf2, 0x08)],
  ['TIFF of an unknown kind', bytes => starts(bytes, 0x49, 0x49) || starts(bytes, 0x4d, 0x4d)],
  ['web page or other text', bytes => /^[\t\n\r\x20-\x7e]{8}/.test(at(bytes, 0, 8))],
]

/** The probable format of bytes that no entry of the list matches. */
export const describeOther = (bytes: Uint8Array): string | undefined =>
  OTHERS.find(([, matches]) => matches(bytes))?.[0]
