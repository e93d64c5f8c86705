/** What the methods of a store take and give. */

import type { Embeddings } from '../encode/embeddings.js'
import type { StoreDtype } from './header.js'

/** How a store is opened. */
export interface OpenStoreOptions {
  /** Make the folder and an empty store in it when there is none. Default false: then it must be there. */
  create?: boolean
  /**
   * How a number of a vector is kept in a new store; default 'float32'. 'bfloat16' takes half of the disk and the time of
   * a search, 'int8' a quarter; a store keeps the dtype it was made with.
   */
  dtype?: StoreDtype
  /** Gives up opening; the promise rejects with its reason. */
  signal?: AbortSignal
}

/** What becomes of images that fail, and how an `add` is followed and ended. */
export interface AddOptions {
  /** 'throw' (default): the first image that can't be read rejects, what is done is kept. 'collect': it goes on. */
  errors?: 'throw' | 'collect'
  /**
   * Ends the work after the batch under way; what is done is kept, and the promise rejects with the reason.
   */
  signal?: AbortSignal
  /** Called after every batch that is on the disk. */
  onProgress?: (progress: AddProgress) => void
}

/** How a compaction is followed and ended. */
export interface CompactOptions {
  /** Ends it; the store stays as it was, and the promise rejects with the reason. */
  signal?: AbortSignal
  /** Called after every 1024 rows, with rows read. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** How a merge is followed and ended. */
export interface MergeOptions {
  /** Ends it after the rows under way; what is done is kept, and the promise rejects with the reason. */
  signal?: AbortSignal
  /** Called after every 1024 rows that are on the disk or skipped, with rows of the source. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** How much a search returns. */
export interface SearchOptions {
  /** How many items; default 10, at most all. */
  topK?: number
  /** Ends the search; the promise rejects with its reason. */
  signal?: AbortSignal
}

/** Which pairs are near, and how the search for them is followed and ended. */
export interface NearDuplicateOptions {
  /** Least cosine of a pair, -1 to 1. Images that differ by compression alone are above 0.98 or so. */
  threshold: number
  /** Ends the search; the iterator rejects with its reason. */
  signal?: AbortSignal
  /** Called after each tile with pairs of rows compared. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** An item that was found. */
export interface Match {
  /** The item's id: of a file its path. */
  id: string
  /** Cosine of its embedding and the query. */
  score: number
}

/** Some items of a store, in their order: `embeddings.row(i)` is that of `ids[i]`. */
export interface StoreBatch {
  /** Ids, in the order in which they were added. */
  ids: string[]
  /** (ids.length, embedDim) float32; of length 1 up to the store's dtype. */
  embeddings: Embeddings
}

/** How far an `add` is. */
export interface AddProgress {
  /** Inputs that are dealt with: added and on the disk, skipped or failed. */
  done: number
  /** Undefined when the inputs come from an iterable of unknown length. */
  total: number | undefined
  /** Embedded and on the disk, new or again. */
  added: number
  /** There already. */
  skipped: number
  /** With `errors: 'collect'`: could not be embedded. */
  failed: number
}
