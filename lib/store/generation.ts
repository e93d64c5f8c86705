/**
 * The two files that hold a store's rows, and what is known of them. Adding appends to them; compaction writes the next
 * generation beside them and changes store.json, by rename, to name it.
 */

import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Embeddings } from '../embeddings.js'
import { RegularFile } from '../regular-file.js'
import type { Tiles } from './duplicates.js'
import { checkRow, damaged, faultOf } from './errors.js'
import { filesOf, type Header, rowsFile } from './header.js'
import { type Item, Log } from './log.js'
import type { StoreBatch } from './types.js'
import { bytesOf, readRows } from './vectors.js'

/** Rows of a batch that is read. */
export const batchRows = 1024

/** Both files, open: they stay readable when a compaction takes their names away. */
export interface OpenFiles {
  vectors: RegularFile
  items: RegularFile
  close(): Promise<void>
}

export class Generation {
  readonly files: ReturnType<typeof filesOf>
  readonly log: Log
  readonly rowBytes: number

  constructor(
    folder: string,
    readonly header: Header,
  ) {
    this.files = filesOf(folder, header.generation)
    this.log = new Log(this.files.items)
    this.rowBytes = header.embedDim * bytesOf[header.dtype]
  }

  /** Takes note of what was added, by whomever. */
  async refresh(signal: AbortSignal | undefined, each?: (item: Item) => void): Promise<void> {
    const { log, rowBytes } = this
    const before = log.rows
    await log.refresh(signal, each)
    if (log.rows === before && before > 0) return
    const { vectors } = this.files
    const file = await RegularFile.open(vectors, faultOf(vectors, 'rows'), signal)
    try {
      if (file.bytes < log.rows * rowBytes)
        throw damaged(
          vectors,
          'rows',
          `has ${file.bytes} bytes, but ${log.rows} rows of ${rowBytes} bytes have ids`,
          { expected: `at least ${log.rows * rowBytes} bytes`, actual: `${file.bytes} bytes` },
        )
      // Rows older than the last batch are looked at when they are exported or compared.
      const together = Math.max(1, Math.floor(2 ** 20 / rowBytes))
      for (let row = Math.max(log.lastBatch, log.rows - batchRows); row < log.rows; row += together) {
        const count = Math.min(together, log.rows - row)
        const bytes = await file.read(row * rowBytes, count * rowBytes)
        for (let i = 0; i < count; i++) checkRow(vectors, row + i, bytes, i, rowBytes, log.crcs.at(row + i))
      }
    } finally {
      await file.close()
    }
  }

  async open(signal: AbortSignal | undefined): Promise<OpenFiles> {
    const items = await this.log.open(signal)
    try {
      const { vectors: path } = this.files
      const vectors = await RegularFile.open(path, faultOf(path, 'rows'), signal)
      const close = async () => {
        await Promise.all([vectors.close(), items.close()])
      }
      return { vectors, items, close }
    } catch (error) {
      await items.close()
      throw error
    }
  }

  /** All rows, for {@link nearDuplicates}. */
  tiles({ vectors, items }: OpenFiles, signal: AbortSignal | undefined): Tiles {
    const { log, header } = this
    return {
      rows: log.rows,
      replaced: log.replaced,
      read: (first, count) => readRows(vectors, log.crcs, header, first, count),
      ids: async (first, count) => {
        const ids = new Array<string | undefined>(count)
        for await (const item of log.items(items, signal, first, first + count))
          ids[item.row - first] = item.id
        return ids
      },
    }
  }

  /** Ids and embeddings of rows [0, rows), at most 1024 at a time, replaced ones left out. */
  async *batches(
    { vectors, items }: OpenFiles,
    rows: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<StoreBatch, void, void> {
    const { log, header } = this
    const dim = header.embedDim
    for (let first = 0; first < rows; first += batchRows) {
      const count = Math.min(batchRows, rows - first)
      const data = await readRows(vectors, log.crcs, header, first, count)
      const ids: string[] = []
      for await (const item of log.items(items, signal, first, first + count)) {
        data.copyWithin(ids.length * dim, (item.row - first) * dim, (item.row - first + 1) * dim)
        ids.push(item.id)
      }
      if (ids.length > 0)
        yield {
          ids,
          embeddings: new Embeddings(data.subarray(0, ids.length * dim), [ids.length, dim] as const),
        }
    }
  }
}

/** Removes what other generations and killed writers left. For whoever holds the lock. */
export async function removeLeftovers(folder: string, header: Header): Promise<void> {
  const { vectors, items } = filesOf(folder, header.generation)
  const ours = (name: string) => rowsFile.test(name) || /^store\.json\.[0-9a-f]+\.part$/.test(name)
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    // Where a system keeps a file that somebody reads, the next writer removes it.
    if (ours(name) && path !== vectors && path !== items) await rm(path, { force: true }).catch(() => {})
  }
}
