/** Reads the coded size of AV1 data: the container may state another size, but decoders allocate memory for this one. */

/** Reads bits, most significant first; zeros after the end. */
class Bits {
  #at = 0
  constructor(private readonly bytes: Uint8Array) {}

  read(count: number): number {
    let value = 0
    for (let i = 0; i < count; i++, this.#at++)
      value = value * 2 + (((this.bytes[this.#at >> 3] ?? 0) >> (7 - (this.#at & 7))) & 1)
    return value
  }
}

/** A leb128 number (groups of 7 bits, lowest first) and its length in bytes. */
function leb128(bytes: Uint8Array, at: number): [value: number, length: number] {
  let value = 0
  for (let i = 0; i < 8; i++) {
    const byte = bytes[at + i] ?? 0
    value += (byte & 0x7f) * 2 ** (7 * i)
    if (!(byte & 0x80)) return [value, i + 1]
  }
  return [value, 8]
}

/** Maximum number of units (OBUs) before the sequence header, such as a temporal delimiter, padding or metadata. */
const MOST_UNITS = 16

/** The size in the first sequence header of an item's data; undefined if there is none (not AV1, or damaged). */
export function av1Size(bytes: Uint8Array): { width: number; height: number } | undefined {
  let at = 0
  for (let units = 0; units < MOST_UNITS && at < bytes.length; units++) {
    const header = bytes[at]!
    if (header & 0x80) return undefined
    at += header & 4 ? 2 : 1
    let size = bytes.length - at
    if (header & 2) {
      const [value, length] = leb128(bytes, at)
      size = value
      at += length
    }
    if (((header >> 3) & 15) === 1) return sequenceSize(bytes.subarray(at, at + Math.min(size, 256)))
    at += size
  }
  return undefined
}

/** sequence_header_obu() up to max_frame_height_minus_1. */
function sequenceSize(bytes: Uint8Array): { width: number; height: number } {
  const bits = new Bits(bytes)
  bits.read(4) // profile, still image
  if (bits.read(1)) bits.read(5)
  else {
    let delayBits: number | undefined
    if (bits.read(1)) {
      bits.read(64)
      if (bits.read(1)) {
        let zeros = 0
        while (zeros < 32 && bits.read(1) === 0) zeros++
        bits.read(zeros)
      }
      if (bits.read(1)) {
        delayBits = bits.read(5) + 1
        bits.read(32 + 5 + 5)
      }
    }
    const displayDelay = bits.read(1)
    const points = bits.read(5) + 1
    for (let i = 0; i < points; i++) {
      bits.read(12)
      if (bits.read(5) > 7) bits.read(1)
      if (delayBits !== undefined && bits.read(1)) bits.read(2 * delayBits + 1)
      if (displayDelay && bits.read(1)) bits.read(4)
    }
  }
  const [widthBits, heightBits] = [bits.read(4) + 1, bits.read(4) + 1]
  return { width: bits.read(widthBits) + 1, height: bits.read(heightBits) + 1 }
}
