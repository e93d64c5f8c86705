/**
 * What Pillow concludes from a file's header and sharp's metadata does not tell: PNG's colour type, GIF's palette and
 * transparent index, TIFF's photometric interpretation. Every read is checked: a header cut short is "unknown".
 */

export interface Header {
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
  if (bytes.length > 25 && bytes[0] === 0x89 && bytes[1] === 0x50) return { pngColourType: bytes[25] }
  if (bytes[0] === 0x47 && bytes[1] === 0x49 && bytes[2] === 0x46) return { gif: readGif(bytes) }
  if ((bytes[0] === 0x49 && bytes[1] === 0x49) || (bytes[0] === 0x4d && bytes[1] === 0x4d))
    return { tiffPalette: isPaletteTiff(bytes) }
  return {}
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
