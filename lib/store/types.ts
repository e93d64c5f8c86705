/** What the methods of a store take and give. */

import type { Embeddings } from '../embeddings.js'
import type { AddProgress } from './add.js'
import type { StoreDtype } from './header.js'

export interface OpenStoreOptions {
  /** Make the folder and an empty store in it when there is none. Default false: then it must be there. */
  create?: boolean
  /**
   * How a number of a vector is kept in a new store; default 'float32'. 'bfloat16' takes half of the disk and the time of
   * a search, 'int8' a quarter; a store keeps the dtype it was made with.
   */
  dtype?: StoreDtype
  signal?: AbortSignal
}

export interface AddOptions {
  /** 'throw' (default): the first picture that can't be read rejects, what is done is kept. 'collect': it goes on. */
  errors?: 'throw' | 'collect'
  signal?: AbortSignal
  /** Called after every batch that is on the disk. */
  onProgress?: (progress: AddProgress) => void
}

export interface CompactOptions {
  signal?: AbortSignal
  /** Called after every 1024 rows, with rows read. */
  onProgress?: (progress: { done: number; total: number }) => void
}

export interface SearchOptions {
  /** How many items; default 10, at most all. */
  topK?: number
  signal?: AbortSignal
}

export interface NearDuplicateOptions {
  /** Least cosine of a pair, -1 to 1. Pictures that differ by compression alone are above 0.98 or so. */
  threshold: number
  signal?: AbortSignal
  /** Called after each tile with pairs of rows compared. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** An item that was found. */
export interface Match {
  id: string
  /** Cosine of its embedding and the query. */
  score: number
}

/** Some items of a store, in their order: `embeddings.row(i)` is that of `ids[i]`. */
export interface StoreBatch {
  ids: string[]
  /** (ids.length, embedDim) float32; of length 1 up to the store's dtype. */
  embeddings: Embeddings
}
