/**
 * Decodes Windows and OS/2 bitmaps exactly as Pillow 12 does, including its quirks: files that Pillow refuses are refused, and
 * a palette of exactly black and white makes a 1-bit image whatever the header says.
 */

import type { Steps } from '../../base/slices.js'
import type { DecodedImage } from '../pixels.js'
import { type Header, viewOf } from './facts.js'

/** Pixel formats, with Pillow's names. */
type Raw = '1' | 'L' | 'P;1' | 'P;4' | 'P' | 'BGR;15' | 'BGR;16' | 'BGR' | Wide
/** For 32 bits: the order of the bytes. */
type Wide = 'BGRX' | 'XBGR' | 'BGXR' | 'ABGR' | 'RGBA' | 'BGRA' | 'BGAR'

const BITS: Record<string, number> = {
  '1': 1,
  L: 8,
  'P;1': 1,
  'P;4': 4,
  P: 8,
  'BGR;15': 16,
  'BGR;16': 16,
  BGR: 24,
}
const PLAIN: Record<number, Raw> = { 1: 'P;1', 4: 'P;4', 8: 'P', 16: 'BGR;15', 24: 'BGR', 32: 'BGRX' }
/** Bit masks of red, green, blue and, with 32 bits, alpha. */
const MASKED: Record<string, Raw> = {
  '32 ff0000 ff00 ff 0': 'BGRX',
  '32 ff000000 ff0000 ff00 0': 'XBGR',
  '32 ff000000 ff00 ff 0': 'BGXR',
  '32 ff000000 ff0000 ff00 ff': 'ABGR',
  '32 ff ff00 ff0000 ff000000': 'RGBA',
  '32 ff0000 ff00 ff ff000000': 'BGRA',
  '32 ff000000 ff00 ff ff0000': 'BGAR',
  '32 0 0 0 0': 'BGRA',
  '24 ff0000 ff00 ff': 'BGR',
  '16 f800 7e0 1f': 'BGR;16',
  '16 7c00 3e0 1f': 'BGR;15',
}
const NONE = 0
const RLE8 = 1
const RLE4 = 2
const BITFIELDS = 3

interface Plan {
  width: number
  height: number
  topDown: boolean
  raw: Raw
  /** Mode 1 is stored as L with the values 0 and 255, and resized as Pillow resizes 1-bit images. */
  mode: '1' | 'L' | 'P' | 'RGB' | 'RGBA'
  /** The palette: 256 times red, green, blue. */
  palette?: Uint8Array
  rle?: 4 | 8
  /** Offset of the pixels, and bytes per row. */
  data: number
  stride: number
}

/** The plan, or the reason why the file is refused. */
function planOf(bytes: Uint8Array): Plan | string {
  const view = viewOf(bytes)
  if (bytes.length < 26) return 'it ends within its header'
  const offset = view.getUint32(10, true)
  const headerSize = view.getUint32(14, true)
  if (![12, 40, 52, 56, 64, 108, 124].includes(headerSize)) return `its header has ${headerSize} bytes`
  if (14 + headerSize > bytes.length) return 'it ends within its header'
  const old = headerSize === 12
  const topDown = !old && bytes[25] === 0xff
  const width = old ? view.getUint16(18, true) : view.getUint32(18, true)
  const said = old ? view.getUint16(20, true) : view.getUint32(22, true)
  const height = topDown ? 2 ** 32 - said : said
  const bits = view.getUint16(old ? 24 : 28, true)
  const compression = old ? NONE : view.getUint32(30, true)
  const padding = old ? 3 : 4
  const colours = (old ? 0 : view.getUint32(46, true)) || 2 ** bits
  let at = 14 + headerSize
  const data = offset === at && bits <= 8 ? offset + padding * colours : offset
  let raw = PLAIN[bits]
  if (!raw) return `its pixels have ${bits} bits`
  if (width === 0 || height === 0) return 'it has no size'
  if (compression === BITFIELDS) {
    const inside = headerSize >= 52
    const masks = inside ? 54 : at
    if (!inside) at += 12
    if (masks + 12 > bytes.length) return 'it ends within its header'
    const mask = (i: number) => view.getUint32(masks + 4 * i, true).toString(16)
    const alpha = headerSize >= 56 ? mask(3) : '0'
    raw = MASKED[[bits, mask(0), mask(1), mask(2), ...(bits === 32 ? [alpha] : [])].join(' ')]
    if (!raw) return 'its colours are in bits that Pillow does not read'
  } else if (compression !== NONE && compression !== RLE8 && compression !== RLE4)
    return `its compression is ${compression}`
  const plan: Plan = {
    width,
    height,
    topDown,
    raw,
    mode: bits <= 8 ? 'P' : bits === 32 && raw.includes('A') ? 'RGBA' : 'RGB',
    data: data || at,
    stride: Math.floor((width * bits + 31) / 32) * 4,
  }
  if (bits <= 8) {
    const fault = readPalette(plan, bytes, at, colours, padding)
    if (fault) return fault
    plan.data = data || at + padding * colours
  }
  if (compression === RLE8 || compression === RLE4) {
    if (plan.mode !== 'P' && plan.mode !== 'L') return 'its run lengths do not use a palette'
    plan.rle = compression === RLE4 ? 4 : 8
  } else if (plan.stride < Math.ceil((width * (BITS[plan.raw] ?? 32)) / 8))
    return 'its palette does not match its bits per pixel'
  return plan
}

/** Pillow treats a grey ramp as greyscale, and a palette of black and white as a 1-bit image. */
function readPalette(
  plan: Plan,
  bytes: Uint8Array,
  at: number,
  colours: number,
  padding: number,
): string | undefined {
  if (colours > 65536) return `its palette has ${colours} colours`
  const given = bytes.subarray(at, at + padding * colours)
  let grey = given.length >= padding * (colours - 1) + 3
  for (let i = 0; i < colours && grey; i++) {
    const value = colours === 2 ? 255 * i : i & 255
    for (let c = 0; c < 3; c++) if (given[padding * i + c] !== value) grey = false
  }
  if (grey) {
    plan.mode = plan.raw = colours === 2 ? '1' : 'L'
    return undefined
  }
  const count = Math.floor(given.length / padding)
  if (count > 256) return `its palette has ${colours} colours`
  // Indices beyond the palette are black.
  plan.palette = Uint8Array.from({ length: 768 }, (_, i) => {
    const index = Math.floor(i / 3)
    return index < count ? given[padding * index + 2 - (i % 3)]! : 0
  })
  return undefined
}

export function readBmp(bytes: Uint8Array): Header {
  const plan = planOf(bytes)
  const header: Header = { format: 'BMP', decoderBytes: (width, height) => 4 * width * height }
  if (typeof plan === 'string') return { ...header, refused: plan }
  return { ...header, size: { width: plan.width, height: plan.height } }
}

/** Pixels processed between two checks of the clock. */
const PIECE = 16_384

/** Decodes the image, or throws an Error with the reason. The header must have been read successfully. */
export function* decodeBmp(bytes: Uint8Array): Steps<DecodedImage> {
  const plan = planOf(bytes)
  if (typeof plan === 'string') throw new Error(plan)
  const { width, height, mode, palette } = plan
  let { data, stride, raw } = plan
  let source = bytes
  if (plan.rle) {
    source = yield* runLengths(bytes, plan)
    data = 0
    stride = width
    raw = mode === 'L' ? 'L' : 'P'
  }
  const rowBytes = Math.ceil((width * (BITS[raw] ?? 32)) / 8)
  const needed = stride * (height - 1) + rowBytes
  if (data + needed > source.length)
    throw new Error(`it ends ${data + needed - source.length} bytes before its last row does`)
  const channels = mode === 'RGBA' ? 4 : mode === 'L' || mode === '1' ? 1 : 3
  const out = new Uint8Array(width * height * channels)
  const unpack = unpacker(raw, source, out, palette)
  for (let row = 0; row < height; row++) {
    const from = data + stride * row
    const to = (plan.topDown ? row : height - 1 - row) * width * channels
    for (let x = 0; x < width; x += PIECE) {
      unpack(from, to, x, Math.min(width, x + PIECE))
      if (x > 0 || row % Math.ceil(PIECE / width) === 0) yield
    }
  }
  const nearest = mode === 'P' || mode === '1'
  return {
    data: out,
    width,
    height,
    mode: mode === 'RGBA' ? 'RGBA' : channels === 1 ? 'L' : 'RGB',
    ours: true,
    ...(nearest ? { nearest } : {}),
  }
}

type Unpack = (from: number, to: number, start: number, end: number) => void

/** Converts pixels [start, end) of the row that begins at `from` into the row of `out` that begins at `to`. */
function unpacker(raw: Raw, bytes: Uint8Array, out: Uint8Array, palette: Uint8Array | undefined): Unpack {
  const show = (to: number, index: number) => {
    out[to] = palette![3 * index]!
    out[to + 1] = palette![3 * index + 1]!
    out[to + 2] = palette![3 * index + 2]!
  }
  const bit = (from: number, x: number) => (bytes[from + (x >> 3)]! >> (7 - (x & 7))) & 1
  switch (raw) {
    case '1':
      return (from, to, start, end) => {
        for (let x = start; x < end; x++) out[to + x] = bit(from, x) ? 255 : 0
      }
    case 'L':
      return (from, to, start, end) => out.set(bytes.subarray(from + start, from + end), to + start)
    case 'P;1':
      return (from, to, start, end) => {
        for (let x = start; x < end; x++) show(to + 3 * x, bit(from, x))
      }
    case 'P;4':
      return (from, to, start, end) => {
        for (let x = start; x < end; x++) show(to + 3 * x, (bytes[from + (x >> 1)]! >> (x & 1 ? 0 : 4)) & 15)
      }
    case 'P':
      return (from, to, start, end) => {
        for (let x = start; x < end; x++) show(to + 3 * x, bytes[from + x]!)
      }
    case 'BGR;15':
    case 'BGR;16': {
      const green = raw === 'BGR;15' ? 31 : 63
      const red = raw === 'BGR;15' ? 10 : 11
      return (from, to, start, end) => {
        for (let x = start; x < end; x++) {
          const pixel = bytes[from + 2 * x]! | (bytes[from + 2 * x + 1]! << 8)
          out[to + 3 * x] = (((pixel >> red) & 31) * 255) / 31
          out[to + 3 * x + 1] = (((pixel >> 5) & green) * 255) / green
          out[to + 3 * x + 2] = ((pixel & 31) * 255) / 31
        }
      }
    }
    default: {
      const step = raw === 'BGR' ? 3 : 4
      const order = ['R', 'G', 'B', 'A'].map(channel => raw.indexOf(channel)).filter(place => place >= 0)
      const [r, g, b, a] = order as [number, number, number, number?]
      const n = order.length
      return (from, to, start, end) => {
        for (let x = start, i = from + step * start, o = to + n * start; x < end; x++, i += step, o += n) {
          out[o] = bytes[i + r]!
          out[o + 1] = bytes[i + g]!
          out[o + 2] = bytes[i + b]!
          if (a !== undefined) out[o + 3] = bytes[i + a]!
        }
      }
    }
  }
}

/** Decodes RLE4 and RLE8 to one index per byte. If the data is too short, the image is refused. */
function* runLengths(bytes: Uint8Array, { width, height, data, rle }: Plan): Steps<Uint8Array> {
  const length = width * height
  const out = new Uint8Array(length)
  let [at, done, x, steps] = [data, 0, 0, 0]
  const put = (value: number) => {
    if (done < length) out[done] = value
    done++
  }
  while (done < length && at + 2 <= bytes.length) {
    const [count, value] = [bytes[at]!, bytes[at + 1]!]
    at += 2
    if (count > 0) {
      const run = x + count > width ? Math.max(0, width - x) : count
      for (let i = 0; i < run; i++) put(rle === 8 ? value : i % 2 === 0 ? value >> 4 : value & 15)
      x += run
    } else if (value === 0) {
      done = Math.ceil(done / width) * width
      x = 0
    } else if (value === 1) break
    else if (value === 2) {
      if (at + 2 > bytes.length) break
      done += bytes[at]! + bytes[at + 1]! * width
      at += 2
      x = done % width
    } else {
      const size = rle === 8 ? value : value >> 1
      const end = Math.min(at + size, bytes.length)
      const missing = at + size > bytes.length
      for (; at < end; at++) {
        if (rle === 8) put(bytes[at]!)
        else {
          put(bytes[at]! >> 4)
          put(bytes[at]! & 15)
        }
      }
      if (missing) break
      x += value
      at += at & 1 // data is aligned to even offsets of the file
    }
    if (++steps % 256 === 0) yield
  }
  if (done < length) throw new Error('its run lengths end before its last row does')
  return out
}
