/**
 * The two files that hold a store's rows, and what is known of them. Adding appends to them; compaction writes the next
 * generation beside them and changes store.json, by rename, to name it.
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
  /** Whether the folder was synced since its header named these files. */
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

  /** Takes note of what was added, by whomever. */
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
      // Rows older than the last batch are looked at when they are exported or compared.
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

  /** Whether something lies behind the rows that count. */
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
 * For whoever has just got the lock, before anything else: removes headers that are written and not yet renamed. Their
 * writer was killed, or is stopped and shall not change the header any more when it goes on: it finds nothing to rename.
 */
export async function revokeHeaders(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if (headerPart.test(name)) await rm(join(folder, name), { force: true })
}

/**
 * For whoever holds the lock: removes what other generations and killed writers left. The lock is checked when the list
 * is made, so that a writer who was stopped here removes no file that its successor makes.
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
  // The header must be the lasting one before files go that only an older one names.
  await syncFolder(folder)
  await check()
  // Where a system keeps a file that somebody reads, the next writer removes it.
  for (const path of old) await rm(path, { force: true }).catch(() => {})
}
