/**
 * Weights in the form produced by onnxruntime's quantize_dynamic (weight_type QInt8): symmetric int8 in
 * -127..127, tables asymmetric uint8.
 */

/** The float32 matrix (out, inn) as (inn, out). */
export function transposed(data: Float32Array, out: number, inn: number): Float32Array {
  const t = new Float32Array(data.length)
  for (let o = 0; o < out; o += 16)
    for (let i = 0; i < inn; i++)
      for (let j = o; j < Math.min(out, o + 16); j++) t[i * out + j] = data[j * inn + i]!
  return t
}

/** Rounds half to even, like numpy. */
function rint(x: number): number {
  const low = Math.floor(x)
  const rest = x - low
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low
}

const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high)

function largest(data: Float32Array): number {
  let most = 0
  for (const x of data) if (Math.abs(x) > most) most = Math.abs(x)
  return most
}

/** (out, inn) to int8 (inn, out) with one scale per output channel. */
export function perChannel(
  data: Float32Array,
  out: number,
  inn: number,
): { values: Int8Array; scale: Float32Array } {
  const values = new Int8Array(data.length)
  const scale = new Float32Array(out)
  for (let o = 0; o < out; o++) {
    const row = data.subarray(o * inn, (o + 1) * inn)
    const s = Math.fround((2 * largest(row)) / 254) || 1
    scale[o] = s
    for (let i = 0; i < inn; i++) values[i * out + o] = clamp(rint(Math.fround(row[i]! / s)), -127, 127)
  }
  return { values, scale }
}

export function perTensor(data: Float32Array): { values: Int8Array; scale: number } {
  const scale = Math.fround((2 * largest(data)) / 254) || 1
  const values = new Int8Array(data.length)
  for (let i = 0; i < values.length; i++) values[i] = clamp(rint(Math.fround(data[i]! / scale)), -127, 127)
  return { values, scale }
}

export function uint8Table(data: Float32Array): { values: Uint8Array; scale: number; zero: number } {
  let low = 0
  let high = 0
  for (let i = 0; i < data.length; i++) {
    low = Math.min(low, data[i]!)
    high = Math.max(high, data[i]!)
  }
  const scale = Math.fround((high - low) / 255) || 1
  const zero = clamp(rint(-low / scale), 0, 255)
  const values = new Uint8Array(data.length)
  for (let i = 0; i < values.length; i++)
    values[i] = clamp(rint(Math.fround(data[i]! / scale)) + zero, 0, 255)
  return { values, scale, zero }
}
