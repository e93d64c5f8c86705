/** Merging: appends the rows of another store of the same model and dtype without changing them. */

import { argumentError, got } from '../base/errors.js'
import { Slices } from '../base/slices.js'
import { checkFingerprint } from '../checkpoint/fingerprint.js'
import { checkRow } from './errors.js'
import { batchRows, type Generation, type OpenFiles } from './generation.js'
import type { StoreHeader } from './header.js'
import type { Known } from './known.js'
import type { NewItem } from './writer.js'

/** Result of `store.merge`. */
export interface MergeResult {
  /** Number of new items. */
  added: number
  /** Number of items that replaced those of the same file with another size or modification time. */
  updated: number
  /** Number of items that were already in the store. */
  skipped: number
}

export interface MergeCall {
  known: Known
  signal: AbortSignal | undefined
  onProgress: ((progress: { done: number; total: number }) => void) | undefined
  /** Writes items.length rows to disk, in the store's number format. */
  append(items: readonly NewItem[], data: Uint8Array): Promise<void>
}

/** Throws a RangeError or ERR_CLIP_MODEL_MISMATCH if the rows of one store can't be copied to the other unchanged. */
export function checkMergeable(folder: string, into: StoreHeader, source: string, from: StoreHeader): void {
  if (source === folder) throw argumentError('source', 'be another store', source, 'range')
  if (from.dtype !== into.dtype)
    throw argumentError('source', `have the dtype '${into.dtype}'`, got(from.dtype), 'range')
  checkFingerprint(into.fingerprint, source, 'this store', from.fingerprint)
}

/** Copies the first `rows` rows of `source`, in order; each is verified against its checksum. */
export async function mergeRows(
  source: Generation,
  { vectors, items }: OpenFiles,
  rows: number,
  { known, signal, onProgress, append }: MergeCall,
): Promise<MergeResult> {
  const { log, rowBytes, files } = source
  const result: MergeResult = { added: 0, updated: 0, skipped: 0 }
  const slices = new Slices()
  for (let first = 0; first < rows; first += batchRows) {
    const count = Math.min(batchRows, rows - first)
    const data = await vectors.read(first * rowBytes, count * rowBytes)
    const taken: NewItem[] = []
    let updated = 0
    for await (const { id, size, mtimeMs, row, crc } of log.items(items, signal, first, first + count)) {
      const stamp = size === undefined || mtimeMs === undefined ? undefined : { size, mtimeMs }
      if (known.isCurrent(id, stamp, stamp !== undefined)) {
        result.skipped++
        continue
      }
      checkRow(files.vectors, row, data, row - first, rowBytes, crc)
      const at = (row - first) * rowBytes
      data.copyWithin(taken.length * rowBytes, at, at + rowBytes)
      if (known.row(id) !== undefined) updated++
      taken.push({ id, ...stamp })
      if (slices.due()) await slices.pause(signal)
    }
    if (taken.length > 0) await append(taken, data.subarray(0, taken.length * rowBytes))
    result.added += taken.length - updated
    result.updated += updated
    onProgress?.({ done: first + count, total: rows })
  }
  return result
}
