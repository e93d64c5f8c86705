import { type GifHeader, type Header, viewOf } from './facts.js'

/** Maximum number of blocks up to the end of the first frame: 66 MB with the usual block size. */
const MOST_BLOCKS = 262_144

/**
 * Reads the screen descriptor, global palette, extensions, and the first frame with its palette. The decoder gets the file as
 * if it ended there, because it would read further frames only to count them.
 */
export function readGif(bytes: Uint8Array): Header {
  const header: Header = { format: 'GIF', decoderBytes: (width, height) => 8 * width * height }
  const tooMany = { ...header, refused: `more than ${MOST_BLOCKS} blocks before the end of its first frame` }
  let at = 13
  if (bytes.length < at) return { ...header, refused: 'it ends within its header' }
  const view = viewOf(bytes)
  const screen = { width: view.getUint16(6, true), height: view.getUint16(8, true) }
  let palette: Uint8Array | undefined
  const table = (flags: number) => {
    if (!(flags & 0x80)) return
    const size = 3 * 2 ** ((flags & 7) + 1)
    palette = bytes.subarray(at, at + size)
    at += size
  }
  let blocks = 0
  /** Data in blocks of up to 255 bytes, the last of them empty. */
  const skipData = () => {
    while (at < bytes.length && bytes[at] !== 0 && blocks <= MOST_BLOCKS) {
      at += bytes[at]! + 1
      blocks++
    }
    at++
  }
  table(bytes[10]!)
  let transparent: number | undefined
  let frame: GifHeader['frame']
  let size = screen
  while (at < bytes.length) {
    if (blocks++ > MOST_BLOCKS) return tooMany
    const block = bytes[at++]
    if (block === 0x21) {
      const label = bytes[at++]
      if (label === 0xf9 && bytes[at]! >= 4) transparent = bytes[at + 1]! & 1 ? bytes[at + 4] : undefined
      skipData()
    } else if (block === 0x2c) {
      if (at + 9 > bytes.length) break
      const word = (i: number) => view.getUint16(at + i, true)
      const [left, top, width, height] = [word(0), word(2), word(4), word(6)]
      if (transparent === undefined) frame = { left, top, width, height }
      size = { width: Math.max(screen.width, left + width), height: Math.max(screen.height, top + height) }
      const flags = bytes[at + 8]!
      at += 9
      table(flags)
      at++ // the initial code size of LZW
      skipData()
      break
    } else if (block === 0x3b) break
  }
  if (blocks > MOST_BLOCKS) return tooMany
  let grey = true
  for (let i = 0; palette && i < palette.length && grey; i++) grey = palette[i] === Math.floor(i / 3)
  const index = transparent ?? 0
  const colour = (channel: number) => (grey ? index : (palette?.[3 * index + channel] ?? 0))
  const gif: GifHeader = {
    grey,
    background: { r: colour(0), g: colour(1), b: colour(2) },
    transparent: transparent !== undefined,
    ...(frame ? { frame } : {}),
  }
  const more = at < bytes.length && bytes[at] !== 0x3b
  return { ...header, size, gif, ...(more ? { edit: { pieces: [[0, at]], tail: [0x3b] } } : {}) }
}
