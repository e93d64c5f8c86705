/** bfloat16 and int8 as the specification in native/backend.h says, written again in JavaScript. */

const bits = new Uint32Array(1)
const float = new Float32Array(bits.buffer)

/** To nearest, ties to even; subnormals to zero. */
export function toBfloat16(value: number): number {
  float[0] = value
  const b = bits[0]!
  const magnitude = b & 0x7fffffff
  if (magnitude > 0x7f800000) return (b >>> 16) | 0x40
  if (magnitude < 0x00800000) return (b >>> 16) & 0x8000
  return ((b + 0x7fff + ((b >>> 16) & 1)) >>> 16) & 0xffff
}

export function widen(value: number): number {
  bits[0] = value << 16
  return float[0]!
}

export const toBfloat16s = (x: Float32Array): Uint16Array => Uint16Array.from(x, toBfloat16)
export const widened = (x: Uint16Array): Float32Array => Float32Array.from(x, widen)

/** Math.round, ties to even. */
function nearest(x: number): number {
  const low = Math.floor(x)
  return x - low === 0.5 ? low + (low & 1) : Math.round(x)
}

export interface Quantised {
  bytes: Uint8Array
  scale: Float32Array
  zero: Int32Array
}

/** Rows of asymmetric bytes. */
export function quantise(x: Float32Array, cols: number): Quantised {
  const rows = x.length / cols
  const q = { bytes: new Uint8Array(x.length), scale: new Float32Array(rows), zero: new Int32Array(rows) }
  const f = Math.fround
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols)
    const low = row.reduce((a, b) => Math.min(a, b), 0)
    const high = row.reduce((a, b) => Math.max(a, b), 0)
    if (!row.every(Number.isFinite) || !Number.isFinite(f(high - low))) {
      q.scale[r] = Number.NaN
      continue
    }
    const scale = Math.max(f(f(high - low) / 255), f(1e-30))
    const inverse = f(1 / scale)
    const zero = nearest(f(-low * inverse))
    q.scale[r] = scale
    q.zero[r] = zero
    for (let i = 0; i < cols; i++)
      q.bytes[r * cols + i] = Math.min(255, Math.max(0, nearest(f(row[i]! * inverse)) + zero))
  }
  return q
}
