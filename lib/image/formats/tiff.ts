import { type Header, rowByRow, type TiffHeader, viewOf } from './facts.js'

const TAG = {
  width: 256,
  height: 257,
  bits: 258,
  compression: 259,
  photometric: 262,
  orientation: 274,
  samples: 277,
  rowsPerStrip: 278,
  tileWidth: 322,
  tileHeight: 323,
  extraSamples: 338,
  sampleFormat: 339,
}
/** Pillow supports up to 6 samples per pixel. */
const MOST_SAMPLES = 8
const BYTES: Record<number, number> = { 1: 1, 2: 1, 3: 2, 4: 4, 16: 8 }

/** The tags of the first directory, of classic TIFF and of BigTIFF. */
interface Directory {
  values(tag: number): number[]
  /** Offset of the first value of a tag with 2-byte values; undefined if it has other values. */
  placeOf(tag: number): number | undefined
  /** Where the offset of the next directory is stored, and its value. */
  nextAt: number
  next: number
}

function readDirectory(bytes: Uint8Array): Directory | undefined {
  if (bytes.length < 16) return undefined
  const view = viewOf(bytes)
  const little = bytes[0] === 0x49
  const big = view.getUint16(2, little) === 43
  const short = (at: number) => view.getUint16(at, little)
  const long = (at: number) => view.getUint32(at, little)
  const long8 = (at: number) => Number(view.getBigUint64(at, little))
  const offset = big ? long8 : long
  const [counted, step, inline] = big ? [8, 20, 8] : [2, 12, 4]
  const directory = offset(big ? 8 : 4)
  if (directory + counted > bytes.length) return undefined
  const entries = big ? long8(directory) : short(directory)
  const nextAt = directory + counted + step * entries
  if (nextAt + inline > bytes.length || entries > 4096) return undefined
  const at = new Map<number, number>()
  for (let i = 0; i < entries; i++) {
    const entry = directory + counted + step * i
    if (!at.has(short(entry))) at.set(short(entry), entry)
  }
  /** Offset and size of a tag's values, and how many of them are read here. */
  const find = (tag: number) => {
    const entry = at.get(tag)
    if (entry === undefined) return undefined
    const size = BYTES[short(entry + 2)]
    if (size === undefined) return undefined
    const all = big ? long8(entry + 4) : long(entry + 4)
    const count = Math.min(all, MOST_SAMPLES)
    const value = entry + (big ? 12 : 8)
    const start = all * size <= inline ? value : offset(value)
    return start + count * size > bytes.length ? undefined : { start, size, count }
  }
  return {
    values(tag) {
      const found = find(tag)
      if (!found) return []
      const { start, size, count } = found
      const read = { 1: (p: number) => bytes[p]!, 2: short, 4: long, 8: long8 }[size]!
      return Array.from({ length: count }, (_, i) => read(start + i * size))
    },
    placeOf(tag) {
      const found = find(tag)
      return found?.size === 2 && found.count > 0 ? found.start : undefined
    },
    nextAt,
    next: offset(nextAt),
  }
}

/** Everything that determines the mode in which Pillow opens the first image of the file, and the decoder's memory. */
export function readTiff(bytes: Uint8Array): Header {
  const header: Header = { format: 'TIFF', decoderBytes: rowByRow(4) }
  const found = readDirectory(bytes)
  if (!found) return { ...header, refused: 'its directory is damaged' }
  const one = (tag: number, otherwise: number) => found.values(tag)[0] ?? otherwise
  const [width, height] = [one(TAG.width, 0), one(TAG.height, 0)]
  const samples = one(TAG.samples, 1)
  const given = found.values(TAG.bits)
  const bits = Array.from({ length: Math.min(samples, MOST_SAMPLES) }, (_, i) => given[i] ?? given[0] ?? 1)
  if (samples > MOST_SAMPLES)
    return { ...header, refused: `it has ${samples} samples a pixel, more than ${MOST_SAMPLES}` }
  const tiff: TiffHeader = {
    photometric: one(TAG.photometric, 0),
    bits,
    sampleFormat: one(TAG.sampleFormat, 1),
    extraSamples: found.values(TAG.extraSamples),
    compression: one(TAG.compression, 1),
    orientation: one(TAG.orientation, 1),
  }
  const stored = bits.reduce((sum, b) => sum + Math.max(8, b), 0) / 8
  const kept =
    tiff.photometric === 5 || bits.length > 3
      ? 4
      : Math.max(bits.length, tiff.photometric === 1 ? stored : 1, 3)
  // A strip or tile is decoded as a whole, whatever size the file gives it.
  const strip = Math.min(one(TAG.rowsPerStrip, height), height) * width
  const tile = one(TAG.tileWidth, 0) * one(TAG.tileHeight, 0)
  const across = tile > 0 ? Math.ceil(width / Math.max(1, one(TAG.tileWidth, 1))) : 1
  const block = tile > 0 ? 2 * tile * across : strip
  const rows = rowByRow(kept, stored)
  const turned = tiff.orientation > 1 ? kept : 0
  const decoderBytes = (w: number, h: number) => rows(w, h) + stored * block + turned * w * h
  const refused = unreadable(tiff)
  const edit = editOf(bytes, found, tiff)
  return {
    ...header,
    size: { width, height },
    decoderBytes,
    tiff,
    ...(refused === undefined ? {} : { refused }),
    ...(edit ? { edit } : {}),
  }
}

/** Refuses images of measurements (such as floats): Pillow turns them into black and white at best. */
function unreadable({ bits, sampleFormat, photometric }: TiffHeader): string | undefined {
  const levels =
    sampleFormat === 1 || (sampleFormat === 2 && bits[0] === 8 && photometric === 1) || sampleFormat === 4
  if (levels && bits[0]! <= 16) return undefined
  const kind =
    sampleFormat === 3 ? 'floating-point numbers' : sampleFormat === 2 ? 'signed numbers' : 'numbers'
  return `its samples are ${kind} of ${bits[0]} bits: scale them to 8 or 16 bits without a sign first`
}

/**
 * Changes the file for the decoder. It gets only the first directory, because it would count all of them before it reads one.
 * Premultiplied alpha is hidden, because it would divide with other arithmetic than Pillow's, and so are invalid
 * orientations, at which it would fail.
 */
function editOf(bytes: Uint8Array, found: Directory, tiff: TiffHeader): Header['edit'] {
  const little = bytes[0] === 0x49
  const patches: [number, number[]][] = []
  const put = (tag: number, value: number) => {
    const place = found.placeOf(tag)
    if (place !== undefined) patches.push([place, little ? [value, 0] : [0, value]])
  }
  if (found.next !== 0) {
    const big = viewOf(bytes).getUint16(2, little) === 43
    patches.push([found.nextAt, new Array(big ? 8 : 4).fill(0)])
  }
  if (tiff.extraSamples[0] === 1) put(TAG.extraSamples, 2)
  if (tiff.orientation < 1 || tiff.orientation > 8) put(TAG.orientation, 1)
  if (tiff.sampleFormat === 2) put(TAG.sampleFormat, 1)
  return patches.length > 0 ? { pieces: [[0, bytes.length]], patches } : undefined
}
