/** Options and results of the methods of a store. */

import type { Embeddings } from '../encode/embeddings.js'
import type { DecodeOption } from '../encode/image.js'
import type { StoreDtype } from './header.js'

/** Options of `clip.openStore`. */
export interface OpenStoreOptions {
  /** Create the folder with an empty store if there is none. Default false: the store must exist. */
  create?: boolean
  /**
   * Number format of the vectors of a new store; default 'float32'. 'bfloat16' halves the disk space and the time of a
   * search, 'int8' quarters it. An existing store keeps its dtype.
   */
  dtype?: StoreDtype
  /** Aborts opening; the promise then rejects with the signal's reason. */
  signal?: AbortSignal
}

/** Options of `store.add`. */
export interface AddOptions extends DecodeOption {
  /** 'throw' (default): the first image that can't be read rejects the call; completed batches are kept. 'collect': the call continues. */
  errors?: 'throw' | 'collect'
  /** Aborts the call after the current batch; completed batches are kept, and the promise rejects with the signal's reason. */
  signal?: AbortSignal
  /** Progress callback, called after every batch that is on disk. */
  onProgress?: (progress: AddProgress) => void
}

/** Options of `store.compact`. */
export interface CompactOptions {
  /** Aborts the compaction; the store stays as it was, and the promise rejects with the signal's reason. */
  signal?: AbortSignal
  /** Progress callback, called after every 1024 rows with the number of rows read. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** Options of `store.merge`. */
export interface MergeOptions {
  /** Aborts the merge after the current rows; merged rows are kept, and the promise rejects with the signal's reason. */
  signal?: AbortSignal
  /** Progress callback, called with the number of source rows that are on disk or skipped, after every 1024. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** Options of `store.search`. */
export interface SearchOptions {
  /** Number of items to return; default 10. */
  topK?: number
  /** Aborts the search; the promise then rejects with the signal's reason. */
  signal?: AbortSignal
}

/** Options of `store.nearDuplicates`. */
export interface NearDuplicateOptions {
  /** Smallest cosine of a pair, from -1 to 1. Images that differ only by compression are above about 0.98. */
  threshold: number
  /** Aborts the search; the iterator then rejects with the signal's reason. */
  signal?: AbortSignal
  /** Progress callback, called after each tile with the number of pairs of rows compared. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** An item that a search found. */
export interface Match {
  /** The id of the item; for a file, its path. */
  id: string
  /** Cosine between its embedding and the query. */
  score: number
}

/** Some items of a store, in their order: `embeddings.row(i)` belongs to `ids[i]`. */
export interface StoreBatch {
  /** Ids, in the order in which they were added. */
  ids: string[]
  /** (ids.length, embedDim) float32; of length 1 up to the rounding of the store's dtype. */
  embeddings: Embeddings
}

/** Progress of `store.add`. */
export interface AddProgress {
  /** Number of inputs done: added and on disk, skipped or failed. */
  done: number
  /** Number of inputs; undefined for an iterable of unknown length. */
  total: number | undefined
  /** Number of inputs embedded and on disk, new or again. */
  added: number
  /** Number of inputs that were already in the store. */
  skipped: number
  /** With `errors: 'collect'`: number of inputs that could not be embedded. */
  failed: number
}
