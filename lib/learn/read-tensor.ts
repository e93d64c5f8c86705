/** One small tensor of a checkpoint as float32: a projection, to begin training from. */

import { badCheckpoint } from '../checkpoint/errors.js'
import { openSource } from '../checkpoint/source-file.js'
import type { ModelSpec } from '../checkpoint/spec.js'

/** float16 of IEEE 754: sign, 5 exponent bits, 10 of fraction. */
function fromHalf(bits: number): number {
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  const sign = bits & 0x8000 ? -1 : 1
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** At most this much of a file is read: a projection is a few megabytes. */
const most = 1 << 28

/** Dense and row-major, whatever its dtype and strides. Rejects with ERR_CLIP_CHECKPOINT when the file has changed. */
export async function readTensor(spec: ModelSpec, name: string, signal?: AbortSignal): Promise<Float32Array> {
  const { file, dtype, shape, strides, offset } = spec.tensors[name]!
  const path = spec.files[file]!
  const source = await openSource(path, signal)
  try {
    if (source.bytes !== spec.fileBytes[file])
      throw badCheckpoint(
        path,
        name,
        `has changed since it was loaded: ${spec.fileBytes[file]} bytes then, ${source.bytes} now`,
      )
    const item = dtype === 'F32' ? 4 : 2
    const last = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, 0)
    if ((last + 1) * item > most)
      throw badCheckpoint(path, name, `tensor ${name} is larger than ${most} bytes`)
    const bytes = await source.read(offset, (last + 1) * item)
    const at = (i: number): number => {
      if (dtype === 'F32') return bytes.readFloatLE(4 * i)
      const bits = bytes.readUInt16LE(2 * i)
      return dtype === 'F16' ? fromHalf(bits) : new Float32Array(new Uint32Array([bits << 16]).buffer)[0]!
    }
    const [rows, cols] = shape.length === 2 ? (shape as [number, number]) : [1, shape[0]!]
    const [down, right] = strides.length === 2 ? (strides as [number, number]) : [0, strides[0]!]
    const out = new Float32Array(rows * cols)
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) out[r * cols + c] = at(r * down + c * right)
      if (r % 16 === 15) {
        await new Promise(setImmediate)
        signal?.throwIfAborted()
      }
    }
    return out
  } finally {
    await source.close()
  }
}
