/** Compaction: writes the current rows, without replaced ones, as the next generation of a store's files. */

import { randomBytes } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import { Slices } from '../base/slices.js'
import { checkRow, writeError } from './errors.js'
import { batchRows, type Generation } from './generation.js'
import { filesOf, type StoreHeader, syncFolder, writeHeader } from './header.js'
import { formatLine } from './log.js'
import { Writer, writeAll } from './writer.js'

/** Result of `store.compact`. */
export interface CompactResult {
  /** Number of replaced rows that were removed. */
  removed: number
  /** Number of bytes by which the folder became smaller. */
  bytes: number
}

/**
 * Writes and syncs both files, then renames a header that names them into place. Until the rename the store consists of the
 * old files, afterwards of the new ones; if the process is killed, the next writer removes the files of the other generation.
 * Just before the rename the old files are fenced, so that nothing can be added to them that is missing in the new ones.
 */
export async function writeNextGeneration(
  folder: string,
  now: Generation,
  check: () => Promise<void>,
  signal: AbortSignal | undefined,
  onProgress: ((progress: { done: number; total: number }) => void) | undefined,
): Promise<CompactResult> {
  const { log, rowBytes } = now
  const { rows, nobodys } = log
  // A name of its own: a process that was stopped until its lock was taken over can't write into its successor's files.
  const header: StoreHeader = { ...now.header, generation: randomBytes(6).toString('hex') }
  const next = filesOf(folder, header.generation)
  const source = await now.open(signal)
  let kept = 0
  let lineBytes = 0
  let writer: Writer | undefined
  try {
    const vectors = await open(next.vectors, 'wx')
    try {
      const items = await open(next.items, 'wx')
      try {
        const slices = new Slices()
        for (let first = 0; first < rows; first += batchRows) {
          const count = Math.min(batchRows, rows - first)
          const data = await source.vectors.read(first * rowBytes, count * rowBytes)
          const from = kept
          const lines: Buffer[] = []
          for await (const item of log.items(source.items, signal, first, first + count)) {
            checkRow(now.files.vectors, item.row, data, item.row - first, rowBytes, item.crc)
            const at = (item.row - first) * rowBytes
            data.copyWithin((kept - from) * rowBytes, at, at + rowBytes)
            const { replaces: _, after: __, ...rest } = item
            // Each line is its own batch, so that damage before the last line is never mistaken for a torn end.
            lines.push(Buffer.from(formatLine({ ...rest, row: kept, first: kept })))
            kept++
            if (slices.due()) await slices.pause(signal)
          }
          const text = Buffer.concat(lines)
          await writeAll(vectors, data.subarray(0, (kept - from) * rowBytes), from * rowBytes)
          await writeAll(items, text, lineBytes)
          lineBytes += text.length
          onProgress?.({ done: first + count, total: rows })
        }
        await vectors.sync()
        await items.sync()
      } finally {
        await items.close()
      }
    } finally {
      await vectors.close()
    }
    await syncFolder(folder)
    writer = await Writer.open(now, undefined, check)
    const fencing = writer
    await writeHeader(folder, header, async () => {
      await check()
      await fencing.fence()
    })
  } catch (error) {
    for (const file of [next.vectors, next.items]) await rm(file, { force: true }).catch(() => {})
    throw writeError(error, next.vectors)
  } finally {
    await writer?.close()
    await source.close()
  }
  const bytes = source.vectors.bytes + source.items.bytes - kept * rowBytes - lineBytes
  return { removed: rows - nobodys - kept, bytes }
}
