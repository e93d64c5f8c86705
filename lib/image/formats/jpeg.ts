import { type Facts, type Header, rowByRow, word } from './facts.js'

/** Maximum number of segments before the frame header. */
const MOST_SEGMENTS = 50_000
/** Maximum number of scans. The decoder processes the whole image for each of them; encoders write about ten. */
const MOST_SCANS = 64
const MOST_SCANNED_PIXELS = 4e9

/** libjpeg refuses longer sides. */
const LONGEST_SIDE = 65_500

interface Frame {
  facts: Facts
  /** Where its segment begins. */
  at: number
  /** The sampling factors of every channel divide the largest ones: every image has 1, 2 or 4. */
  evenlySampled: boolean
  /** Samples of all channels per pixel: 3 for 4:4:4, 1.5 for 4:2:0. */
  samplesPerPixel: number
  progressive: boolean
}

/**
 * Reads the segments up to the first scan: the frame header (SOF0, 1 or 2 with 8 bits, which libjpeg decodes) and the channels
 * of that scan. Truncated files and other kinds of frames are left to the decoder, which reports what is missing.
 */
export function readJpeg(bytes: Uint8Array): Header {
  const header: Header = { format: 'JPEG', decoderBytes: rowByRow(4) }
  let frame: Frame | undefined
  let at = 2
  for (let segments = 0; at + 4 <= bytes.length; segments++) {
    if (segments > MOST_SEGMENTS) return { ...header, refused: `more than ${MOST_SEGMENTS} segments` }
    if (bytes[at] !== 0xff) return header
    const marker = bytes[at + 1]!
    if (marker === 0xff) {
      at++ // any number of fill bytes
      continue
    }
    if (marker === 0xda) return frame ? withScans(bytes, at, frame, header) : header
    if (marker >= 0xc0 && marker <= 0xc2) {
      frame = readFrame(bytes, at, marker === 0xc2)
      if (!frame) return header
      const { facts } = frame
      header.facts = facts
      header.size = { width: facts.width, height: facts.height }
    }
    // Other kinds of frames, or a scan before any frame, are left to the decoder. C4, C8 and CC are not frames.
    const others = marker > 0xc2 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
    if (others || (marker >= 0xd0 && marker <= 0xd9) || marker < 0xc0) return header
    const length = word(bytes, at + 2)
    if (length < 2) return header
    at += 2 + length
  }
  return header
}

function readFrame(bytes: Uint8Array, at: number, progressive: boolean): Frame | undefined {
  if (at + 10 > bytes.length || bytes[at + 4] !== 8) return undefined
  const height = word(bytes, at + 5)
  const width = word(bytes, at + 7)
  const channels = bytes[at + 9]! as 1 | 3 | 4
  const space = ({ 1: 'b-w', 3: 'srgb', 4: 'cmyk' } as const)[channels]
  // A height of 0 means that it follows the scan (DNL), which libjpeg refuses with its own message.
  if (!space || width === 0 || height === 0) return undefined
  let [samples, most] = [0, 1]
  const horizontal: number[] = []
  const vertical: number[] = []
  for (let c = 0; c < channels; c++) {
    const factors = bytes[at + 11 + 3 * c] ?? 0x11
    const [h, v] = [factors >> 4 || 1, factors & 15 || 1]
    samples += h * v
    most = Math.max(most, h * v)
    horizontal.push(h)
    vertical.push(v)
  }
  const even = (factors: number[]) => factors.every(factor => Math.max(...factors) % factor === 0)
  return {
    at,
    evenlySampled: even(horizontal) && even(vertical),
    facts: { width, height, space, channels, depth: 'uchar', hasAlpha: false, isPalette: false },
    samplesPerPixel: samples / most,
    progressive,
  }
}

/** The decoder keeps a progressive image, or one with a scan per channel, as 2-byte coefficients until its last scan. */
function withScans(bytes: Uint8Array, at: number, frame: Frame, header: Header): Header {
  const { facts, progressive, samplesPerPixel } = frame
  const pixels = facts.width * facts.height
  const rows = rowByRow(facts.channels)
  const isSingle = !progressive && bytes[at + 4] === facts.channels
  const coefficients = (width: number, height: number) =>
    isSingle ? 0 : 2 * samplesPerPixel * width * height
  const decoderBytes = (width: number, height: number) => coefficients(width, height) + rows(width, height)
  const isScalable = frame.evenlySampled && Math.max(facts.width, facts.height) <= LONGEST_SIDE - 7
  const scaled = {
    sizeAt: frame.at + 5,
    decoderBytes: (width: number, height: number) =>
      coefficients(facts.width, facts.height) + rows(width, height),
  }
  const read = { ...header, decoderBytes, ...(isScalable ? { scaled } : {}) }
  if (isSingle) return read
  return {
    ...read,
    scans: { from: at, most: Math.max(MOST_SCANS, Math.floor(MOST_SCANNED_PIXELS / pixels)) },
  }
}
