import { type Edit, type Facts, type Header, rowByRow, viewOf } from './facts.js'

const SIGNATURE = [0x89504e47, 0x0d0a1a0a]
/** Chunks that affect the pixels; the others are left out if reading them would be expensive. */
const NEEDED = new Set(['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND', 'eXIf'])
/** Maximum bytes of other chunks (such as a profile and short texts) in a file that is passed on unchanged. */
const MOST_OTHERS = 64
const MOST_COMPRESSED_BYTES = 64 * 1024
/** Maximum number of chunks: 256 MB in chunks of 2 KiB; encoders write 8 KiB or more. */
const MOST_CHUNKS = 131_072

/** Reads IHDR, which must be the first chunk, and the names and sizes of all others. */
export function readPng(bytes: Uint8Array): Header {
  const facts = pngFacts(bytes)
  const colourType = bytes[25]
  const header: Header = {
    format: 'PNG',
    decoderBytes: rowByRow(4, 8),
    ...(colourType === undefined ? {} : { pngColourType: colourType }),
  }
  if (!facts) return { ...header, refused: 'its header is damaged' }
  const out = facts.isPalette ? 3 : facts.channels === 2 ? 4 : facts.channels
  const stored = facts.channels * (facts.depth === 'ushort' ? 2 : 1)
  const kept = facts.channels === 1 ? stored : out
  // The decoder needs the whole of an interlaced image before its first row is complete.
  const decoderBytes =
    bytes[28] === 1
      ? (width: number, height: number) => width * height * (stored + kept)
      : rowByRow(kept, stored)
  const { width, height } = facts
  return { ...header, facts, size: { width, height }, decoderBytes, ...readChunks(bytes) }
}

function pngFacts(bytes: Uint8Array): Facts | undefined {
  if (bytes.length < 29) return undefined
  const view = viewOf(bytes)
  const [width, height] = [view.getUint32(16), view.getUint32(20)]
  const [bits, colourType] = [bytes[24]!, bytes[25]!]
  const channels = ({ 0: 1, 2: 3, 3: 3, 4: 2, 6: 4 } as const)[colourType]
  if (view.getUint32(0) !== SIGNATURE[0] || view.getUint32(4) !== SIGNATURE[1]) return undefined
  if (view.getUint32(8) !== 13 || view.getUint32(12) !== 0x49484452) return undefined
  if (!channels || width === 0 || height === 0 || ![1, 2, 4, 8, 16].includes(bits)) return undefined
  const wide = bits === 16
  return {
    width,
    height,
    space: channels < 3 ? (wide ? 'grey16' : 'b-w') : wide ? 'rgb16' : 'srgb',
    depth: wide ? 'ushort' : 'uchar',
    channels,
    hasAlpha: colourType >= 4, // Pillow does not treat a tRNS chunk as a channel
    isPalette: colourType === 3,
    bitsPerSample: bits,
  }
}

/**
 * Compressed texts and profiles can inflate to a thousand times their size, and are not needed: if a file has many of them,
 * the decoder gets it without them.
 */
function readChunks(bytes: Uint8Array): Pick<Header, 'transparentColours' | 'edit' | 'refused'> {
  const view = viewOf(bytes)
  const pieces: Edit['pieces'] = [[0, 8]]
  let transparent = false
  let others = 0
  let compressed = 0
  let at = 8
  for (let chunks = 0; at + 12 <= bytes.length; chunks++) {
    if (chunks === MOST_CHUNKS) return { refused: `more than ${MOST_CHUNKS} chunks` }
    const end = at + 12 + view.getUint32(at)
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8))
    if (NEEDED.has(name)) {
      const last = pieces.at(-1)!
      if (last[1] === at) last[1] = Math.min(end, bytes.length)
      else pieces.push([at, Math.min(end, bytes.length)])
      if (name === 'tRNS') transparent = true
      if (name === 'IEND') break
    } else {
      others++
      if (name === 'iCCP' || name === 'zTXt' || name === 'iTXt') compressed += end - at
    }
    at = end
  }
  const dear = others > MOST_OTHERS || compressed > MOST_COMPRESSED_BYTES
  return { transparentColours: transparent, ...(dear ? { edit: { pieces } } : {}) }
}
