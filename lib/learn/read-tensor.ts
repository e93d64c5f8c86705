/** Reads one small tensor of a checkpoint as float32: a projection, from which training starts. */

import { allocate } from '../base/allocate.js'
import { badCheckpoint } from '../checkpoint/errors.js'
import { openSource } from '../checkpoint/source-file.js'
import { ITEM_BYTES, weightAt } from '../checkpoint/tensors.js'
import type { ModelSpec } from '../native/spec.js'

/** Maximum number of bytes to read: a projection takes a few megabytes. */
const most = 1 << 28

/** The tensor, dense and row-major, whatever its dtype and strides. Rejects with ERR_CLIP_CHECKPOINT if the file has changed. */
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
    const item = ITEM_BYTES[dtype]!
    const last = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, 0)
    if ((last + 1) * item > most)
      throw badCheckpoint(path, name, `tensor ${name} is larger than ${most} bytes`)
    const bytes = await source.read(offset, (last + 1) * item)
    const [rows, cols] = shape.length === 2 ? (shape as [number, number]) : [1, shape[0]!]
    const [down, right] = strides.length === 2 ? (strides as [number, number]) : [0, strides[0]!]
    const out = allocate(Float32Array, `tensor ${name}`, rows, cols)
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) out[r * cols + c] = weightAt(bytes, dtype, r * down + c * right)
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
