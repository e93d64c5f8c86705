/** Copies a store into a table of LanceDB, for stores that are too large for exact search. */

import { argumentError, ClipError } from '../base/errors.js'
import { checkOptions, checkSignal } from '../base/options.js'
import { optionalPeer } from './errors.js'
import type { Store } from './store.js'

/** The part of `@lancedb/lancedb` that is used. */
export interface LanceTable {
  /** Appends rows. */
  add(rows: Record<string, unknown>[]): Promise<unknown>
  /** The number of rows. */
  countRows(): Promise<number>
}
interface LanceDB {
  connect(uri: string): Promise<{
    createTable(
      name: string,
      rows: Record<string, unknown>[],
      options: { mode: 'create' | 'overwrite' },
    ): Promise<LanceTable>
  }>
}

/**
 * Copies a store into a table of an embedded LanceDB (a folder) with the columns `id` and `vector`, float32 of length 1, so
 * that `table.search(vector).distanceType('cosine')` finds what `store.search` finds. An existing table of that name is
 * replaced. Returns LanceDB's own table.
 *
 * Needs the package @lancedb/lancedb; rejects with ERR_CLIP_INPUT if it is not installed or the store is empty.
 */
export async function toLanceDB<T extends LanceTable = LanceTable>(
  store: Store,
  folder: string,
  options?: { table?: string; signal?: AbortSignal },
): Promise<T> {
  const o = checkOptions(options, ['table', 'signal'])
  const signal = checkSignal(o.signal)
  const { table: name = 'clip' } = o
  if (typeof folder !== 'string' || folder === '') throw argumentError('folder', 'be a path', folder)
  if (typeof name !== 'string' || name === '') throw argumentError('table', 'be a name', name)
  const lance = await optionalPeer<LanceDB>('@lancedb/lancedb', '0.33.0', 'toLanceDB')
  const database = await lance.connect(folder)
  let table: LanceTable | undefined
  for await (const { ids, embeddings } of store.batches(signal ? { signal } : {})) {
    const rows = ids.map((id, i) => ({ id, vector: Array.from(embeddings.row(i)) }))
    if (table) await table.add(rows)
    else table = await database.createTable(name, rows, { mode: 'overwrite' })
    signal?.throwIfAborted()
  }
  if (!table)
    throw new ClipError('ERR_CLIP_INPUT', `${store.folder}: an empty store cannot become a table`, {
      file: store.folder,
    })
  return table as T
}
