import { type Header, viewOf } from './facts.js'

/** Maximum number of chunks before the first frame; usually there are a few, such as a profile. */
const MOST_CHUNKS = 1000

/** Reads the canvas (VP8X) and the first frame (lossy or lossless), and takes the larger of each dimension. */
export function readWebp(bytes: Uint8Array): Header {
  const header: Header = { format: 'WebP', decoderBytes: (width, height) => 15 * width * height }
  const view = viewOf(bytes)
  let [width, height] = [0, 0]
  let [isAnimated, isLossless] = [false, false]
  const add = (w: number, h: number) => {
    width = Math.max(width, w)
    height = Math.max(height, h)
  }
  const three = (at: number) => bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)
  let at = 12
  for (let chunks = 0; chunks < MOST_CHUNKS && at + 18 <= bytes.length; chunks++) {
    const name = String.fromCharCode(...bytes.subarray(at, at + 4))
    const length = view.getUint32(at + 4, true)
    const data = at + 8
    if (name === 'VP8X') add(1 + three(data + 4), 1 + three(data + 7))
    else if (name === 'ANMF') {
      isAnimated = true
      at = data + 16 // the chunks of a frame follow its header
      continue
    } else if (name === 'VP8L') {
      isLossless = true
      const bits = view.getUint32(data + 1, true)
      add(1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff))
      break
    } else if (name === 'VP8 ') {
      add(view.getUint16(data + 6, true) & 0x3fff, view.getUint16(data + 8, true) & 0x3fff)
      break
    }
    at = data + length + (length & 1)
  }
  if (!(width > 0 && height > 0)) return { ...header, refused: 'its header is damaged' }
  // Measured: a lossless image is kept whole, 4 bytes per pixel, whatever the size of the result is.
  const kept = (isLossless ? 5 : 0.5) * width * height
  const scaled = { decoderBytes: (w: number, h: number) => header.decoderBytes(w, h) + kept }
  return { ...header, size: { width, height }, ...(isAnimated ? {} : { scaled }) }
}
