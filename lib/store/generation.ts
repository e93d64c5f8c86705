/**
 * The two files that hold a store's rows, and the state that was read from them. Adding appends to them. Compaction writes
 * the next generation beside them and replaces store.json, by a rename, with one that names it.
 */

import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RegularFile, statPath } from '../base/regular-file.js'
import { Embeddings } from '../encode/embeddings.js'
import type { Tiles } from './duplicates.js'
import { damaged, faultOf } from './errors.js'
import { filesOf, headerPart, lockPart, rowsFile, type StoreHeader, syncFolder } from './header.js'
import { type Item, Log } from './log.js'
import type { StoreBatch } from './types.js'
import { bytesOf, checkRows, readRows } from './vectors.js'

/** Rows that are read at a time. */
export const batchRows = 1024

/** Both open files: they stay readable after a compaction has removed their names. */
export interface OpenFiles {
  vectors: RegularFile
  items: RegularFile
  close(): Promise<void>
}

export class Generation {
  readonly files: ReturnType<typeof filesOf>
  readonly log: Log
  readonly rowBytes: number
  /** Whether the folder has been synced since its header named these files. */
  isLasting = false

  constructor(
    readonly folder: string,
    readonly header: StoreHeader,
  ) {
    this.files = filesOf(folder, header.generation)
    this.rowBytes = header.embedDim * bytesOf[header.dtype]
    const { vectors, items } = this.files
    this.log = new Log(items, async () => {
      const stats = await statPath(vectors, faultOf(vectors, 'rows'), 'refused')
      return Math.floor((stats?.size ?? 0) / this.rowBytes)
    })
  }

  #openVectors(signal: AbortSignal | undefined): Promise<RegularFile> {
    const { vectors } = this.files
    return RegularFile.open(vectors, faultOf(vectors, 'rows'), signal, 'refused')
  }

  /** Reads what has been added, by any process. */
  async refresh(signal: AbortSignal | undefined, each?: (item: Item) => void): Promise<void> {
    const { log, rowBytes } = this
    const before = log.rows
    await log.refresh(signal, each)
    if (log.rows === before && before > 0) return
    const { vectors } = this.files
    const file = await this.#openVectors(signal)
    try {
      if (file.bytes < log.rows * rowBytes)
        throw damaged(
          vectors,
          'rows',
          `has ${file.bytes} bytes, but ${log.rows} rows of ${rowBytes} bytes have ids`,
          { expected: `at least ${log.rows * rowBytes} bytes`, actual: `${file.bytes} bytes` },
        )
      // Older rows are verified when they are exported or compared.
      const together = Math.max(1, Math.floor(2 ** 20 / rowBytes))
      for (let row = Math.max(log.lastBatch, log.rows - batchRows); row < log.rows; row += together) {
        const count = Math.min(together, log.rows - row)
        const bytes = await file.read(row * rowBytes, count * rowBytes)
        await checkRows(file, log, rowBytes, bytes, row, count)
      }
    } finally {
      await file.close()
    }
  }

  /** Whether there is data after the last current row. */
  async hasRest(): Promise<boolean> {
    const { vectors } = this.files
    const stats = await statPath(vectors, faultOf(vectors, 'rows'), 'refused')
    return (stats?.size ?? 0) > this.log.rows * this.rowBytes
  }

  async open(signal: AbortSignal | undefined): Promise<OpenFiles> {
    const items = await this.log.open(signal)
    try {
      const vectors = await this.#openVectors(signal)
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
      unused: log.unused,
      read: (first, count) => readRows(vectors, log, header, first, count),
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
      const data = await readRows(vectors, log, header, first, count)
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

/**
 * Removes headers that were written but not yet renamed. Whoever has just taken the lock must call this first: the writer of
 * such a header was killed, or is stopped; when it continues, it must not replace the header, and finds nothing to rename.
 */
export async function revokeHeaders(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if (headerPart.test(name)) await rm(join(folder, name), { force: true })
}

/**
 * Removes the files that other generations and killed writers left. Call it only while holding the lock, which is checked
 * after the list is made, so that a writer that was stopped here removes no files of its successor.
 */
export async function removeLeftovers(
  folder: string,
  header: StoreHeader,
  check: () => Promise<void>,
): Promise<void> {
  const { vectors, items } = filesOf(folder, header.generation)
  const left = (name: string) => rowsFile.test(name) || lockPart.test(name)
  const paths = (await readdir(folder)).filter(left).map(name => join(folder, name))
  const old = paths.filter(path => path !== vectors && path !== items)
  if (old.length === 0) return
  // The new header must be durable before files are removed that only an older header names.
  await syncFolder(folder)
  await check()
  // Some systems keep a file that is open elsewhere; the next writer removes it.
  for (const path of old) await rm(path, { force: true }).catch(() => {})
}
