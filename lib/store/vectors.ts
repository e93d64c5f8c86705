/** vectors.bin: rows one after the other, little-endian, without a header. */

import { allocate } from '../base/allocate.js'
import type { RegularFile } from '../base/regular-file.js'
import { Slices } from '../base/slices.js'
import { checkRow } from './errors.js'
import type { StoreDtype } from './header.js'
import type { Log } from './log.js'

export const bytesOf: Record<StoreDtype, number> = { float32: 4, bfloat16: 2, int8: 1 }

const view = (a: ArrayBufferView) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength)

/**
 * Converts (n, dim) rows of length 1 to the store's number format. bfloat16 rounds to nearest, ties to even. int8 scales a
 * row so that its largest magnitude is 127; the scale is not stored, because the length of a row is known to be 1.
 */
export function narrow(rows: Float32Array, dim: number, dtype: StoreDtype): Uint8Array {
  if (dtype === 'float32') return view(rows)
  if (dtype === 'bfloat16') {
    const bits = new Uint32Array(rows.buffer, rows.byteOffset, rows.length)
    return view(Uint16Array.from(bits, x => (x + 0x7fff + ((x >>> 16) & 1)) >>> 16))
  }
  const out = new Int8Array(rows.length)
  for (let r = 0; r < rows.length; r += dim) {
    let most = 0
    for (let j = r; j < r + dim; j++) most = Math.max(most, Math.abs(rows[j]!))
    const scale = most > 0 ? 127 / most : 0
    for (let j = r; j < r + dim; j++) out[j] = Math.round(rows[j]! * scale)
  }
  return view(out)
}

/** Converts the result of {@link narrow} back to float32; int8 rows are scaled to length 1. */
export async function widen(
  bytes: Buffer,
  dim: number,
  dtype: StoreDtype,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const { buffer, byteOffset, byteLength } = bytes
  const count = byteLength / bytesOf[dtype]
  if (dtype === 'float32') return new Float32Array(buffer, byteOffset, count)
  const out = allocate(Float32Array, 'the rows', count / dim, dim)
  const slices = new Slices()
  const words = dtype === 'bfloat16' ? new Uint16Array(buffer, byteOffset, count) : undefined
  const small = dtype === 'int8' ? new Int8Array(buffer, byteOffset, count) : undefined
  const bits = new Uint32Array(out.buffer)
  for (let r = 0; r < count; r += dim) {
    if (words) for (let j = r; j < r + dim; j++) bits[j] = words[j]! << 16
    if (small) {
      let sum = 0
      for (let j = r; j < r + dim; j++) sum += small[j]! ** 2
      const length = Math.sqrt(sum) || 1
      for (let j = r; j < r + dim; j++) out[j] = small[j]! / length
    }
    if (slices.due()) await slices.pause(signal)
  }
  return out
}

/** Throws ERR_CLIP_CHECKPOINT unless the checksums of rows [first, first + rows) are right. Orphaned rows are not checked. */
export async function checkRows(
  file: RegularFile,
  log: Pick<Log, 'isItem' | 'crc'>,
  rowBytes: number,
  bytes: Buffer,
  first: number,
  rows: number,
): Promise<void> {
  const slices = new Slices()
  for (let r = 0; r < rows; r++) {
    if (log.isItem(first + r)) checkRow(file.path, first + r, bytes, r, rowBytes, log.crc(first + r))
    if (slices.due()) await slices.pause(file.signal)
  }
}

/** Rows [first, first + rows) as float32, verified against their checksums. */
export async function readRows(
  file: RegularFile,
  log: Pick<Log, 'isItem' | 'crc'>,
  { embedDim: dim, dtype }: { embedDim: number; dtype: StoreDtype },
  first: number,
  rows: number,
): Promise<Float32Array> {
  const rowBytes = dim * bytesOf[dtype]
  const bytes = await file.read(first * rowBytes, rows * rowBytes)
  await checkRows(file, log, rowBytes, bytes, first, rows)
  return widen(bytes, dim, dtype, file.signal)
}
