/** Near duplicates: an exact search that compares all pairs of rows, in tiles of rows against rows. */

import { allocate } from '../base/allocate.js'
import { Slices } from '../base/slices.js'
import type { Loaded } from '../encode/loaded-model.js'
import { kernelBackend } from '../encode/loaded-model.js'
import { binding, fromNative } from '../native/addon.js'
import type { Rows } from './numbers.js'

/** Two nearly identical items of a store. */
export interface NearDuplicate {
  /** Id of the item that was added first. */
  a: string
  /** Id of the item that was added later. */
  b: string
  /** Cosine between their embeddings. */
  score: number
}

/** The data of a store that the search needs. */
export interface Tiles {
  rows: number
  unused: Pick<Rows, 'has'>
  /** float32 */
  read(first: number, rows: number): Promise<Float32Array>
  ids(first: number, rows: number): Promise<(string | undefined)[]>
}

/** At dimension 512 a tile takes 8 MB for queries, 2 MB for classes and 16 MB for scores. */
const queryRows = 4096
const classRows = 1024

export async function* nearDuplicates(
  loaded: Loaded,
  tiles: Tiles,
  threshold: number,
  signal: AbortSignal | undefined,
  onProgress: ((progress: { done: number; total: number }) => void) | undefined,
): AsyncGenerator<NearDuplicate, void, void> {
  const { rows } = tiles
  const dim = loaded.spec.embedDim
  const slices = new Slices()
  const total = (rows * (rows + 1)) / 2
  let done = 0
  for (let q = 0; q < rows; q += queryRows) {
    const n = Math.min(queryRows, rows - q)
    const queries = await tiles.read(q, n)
    let first: (string | undefined)[] | undefined
    for (let c = q; c < rows; c += classRows) {
      const m = Math.min(classRows, rows - c)
      const inside = c < q + n
      const classes = inside ? queries.subarray((c - q) * dim, (c - q + m) * dim) : await tiles.read(c, m)
      // Rows after the tile's last class have no partner in this tile.
      const used = inside ? Math.min(n, c - q + m) : n
      const out = allocate(Float32Array, 'the scores', used, m)
      await fromNative(() =>
        binding().kernels.cosineSoftmax({
          queries: queries.subarray(0, used * dim),
          classes,
          out,
          rows: used,
          classCount: m,
          dim,
          logitScale: 1,
          as: 'cosine',
          threads: loaded.model.threads,
          backend: kernelBackend(loaded),
        }),
      )
      signal?.throwIfAborted()
      let second: (string | undefined)[] | undefined
      for (let i = 0; i < used; i++) {
        const row = out.subarray(i * m, (i + 1) * m)
        if (slices.due()) await slices.pause(signal)
        if (tiles.unused.has(q + i)) continue
        for (let j = Math.max(0, q + i + 1 - c); j < m; j++) {
          if (!(row[j]! >= threshold) || tiles.unused.has(c + j)) continue
          if (slices.due()) await slices.pause(signal)
          first ??= await tiles.ids(q, n)
          second ??= await tiles.ids(c, m)
          yield { a: first[i]!, b: second[j]!, score: row[j]! }
        }
      }
      done = Math.min(total, done + n * m)
      onProgress?.({ done, total })
    }
  }
}
