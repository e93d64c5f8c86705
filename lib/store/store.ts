/** A folder of embeddings on disk that can be searched by text or image. */

import { resolve } from 'node:path'
import { rowDtypes } from '../base/dtypes.js'
import { argumentError, ClipError } from '../base/errors.js'
import { callback, checkOptions, checkSignal, flag, integer, oneOf, pathOf } from '../base/options.js'
import { traceMethods } from '../base/stack.js'
import { isObject } from '../base/values.js'
import { checkCallSettings } from '../encode/image.js'
import type { Loaded } from '../encode/loaded-model.js'
import { type Matrix, openMatrix } from '../kernels/matrix.js'
import { type AddResult, addAll, inputsOf, type StoreInput } from './add.js'
import { type CompactResult, writeNextGeneration } from './compact.js'
import { openHeader } from './create.js'
import { type NearDuplicate, nearDuplicates } from './duplicates.js'
import { StoreFiles } from './files.js'
import type { Generation, OpenFiles } from './generation.js'
import type { StoreDtype, StoreHeader } from './header.js'
import { longestLine } from './log.js'
import { checkMergeable, type MergeResult, mergeRows } from './merge.js'
import { bestRows, queryVector, type StoreQuery } from './query.js'
import type {
  AddOptions,
  CompactOptions,
  Match,
  MergeOptions,
  NearDuplicateOptions,
  OpenStoreOptions,
  SearchOptions,
  StoreBatch,
} from './types.js'
import type { NewItem } from './writer.js'

/**
 * Embeddings on disk, as `clip.openStore` opens them; belongs to the model that opened it. Any number of processes may
 * read; one at a time may write. Vectors are read from the file and are never in memory as a whole. Memory per item is
 * 12 bytes, and about 150 more once something is added.
 *
 * Every method rejects with ERR_CLIP_CHECKPOINT naming file and field if the store is damaged, with ERR_CLIP_DISPOSED if
 * the store or its model was closed, and with `signal.reason`.
 */
export class Store implements AsyncDisposable {
  /** Absolute path of the folder. */
  readonly folder: string
  /** Number format of the vectors on disk. */
  readonly dtype: StoreDtype
  /** Dimension of the vectors. */
  readonly embedDim: number
  readonly #loaded: Loaded
  readonly #files: StoreFiles
  #matrix: { of: Generation; matrix: Matrix } | undefined
  readonly #running = new Set<Promise<unknown>>()
  #closed: Promise<void> | undefined

  private constructor(loaded: Loaded, folder: string, header: StoreHeader) {
    this.#loaded = loaded
    this.folder = folder
    this.dtype = header.dtype
    this.embedDim = header.embedDim
    this.#files = new StoreFiles(folder, header)
  }

  /** @internal */
  static async open(loaded: Loaded, source: string | URL, options?: OpenStoreOptions): Promise<Store> {
    const folder = resolve(pathOf('folder', source))
    const o = checkOptions(options, ['create', 'dtype', 'signal'])
    const signal = checkSignal(o.signal)
    const create = flag('create', o.create ?? false)
    const dtype = o.dtype === undefined ? undefined : oneOf('dtype', o.dtype, rowDtypes)
    loaded.calls.throwIfDisposed()
    const store = new Store(loaded, folder, await openHeader(loaded, folder, create, dtype, signal))
    await store.#files.refresh(signal)
    return store
  }

  /** Number of items, as far as this process knows: items that other processes add are seen by the next search. */
  get size(): number {
    const { log } = this.#files.now
    return log.rows - log.unused.size
  }

  /**
   * Embeds images and appends them in batches of 64. A batch is on disk before it is reported, so a process that is killed
   * loses no reported batch. To resume, call it again with the same images.
   *
   * Items that are already in the store are skipped. A file whose size or modification time has changed is embedded again
   * and replaces the old item, whose row stays on disk, unused, until `compact`. The call waits while another process
   * writes to the store.
   *
   * It counts as one call for `maxQueue` from beginning to end: it rejects with ERR_CLIP_BUSY before anything is added, or
   * not at all.
   *
   * Rejects like encodeImage, and with ERR_CLIP_INPUT naming the file if the store can't be written.
   */
  add(
    images: StoreInput | Iterable<StoreInput> | AsyncIterable<StoreInput>,
    options?: AddOptions,
  ): Promise<AddResult> {
    return this.#run(async () => {
      const o = checkOptions(options, ['errors', 'decode', 'signal', 'onProgress'])
      const signal = checkSignal(o.signal)
      const onProgress = callback('onProgress', o.onProgress)
      const collect = oneOf('errors', o.errors ?? 'throw', ['throw', 'collect']) === 'collect'
      const settings = checkCallSettings(o)
      const inputs = inputsOf(images)
      const total = Array.isArray(inputs) ? inputs.length : undefined
      const loaded = this.#loaded
      return loaded.calls.run(signal, call =>
        this.#files.appending(signal, (known, appendWith) => {
          const append = (items: readonly NewItem[], rows: Float32Array) =>
            appendWith(writer => writer.append(items, rows))
          return addAll(inputs, { loaded, call, known, collect, settings, signal, onProgress, total, append })
        }),
      )
    })
  }

  /**
   * Appends the items of another store, in their order and with the same bytes, so that parts which several processes or
   * machines embedded become one store. Both stores must have the same model and dtype. Items that are already in the store
   * are skipped; an item whose file has another size or modification time replaces the old one, as in `add`. A merge that
   * was killed is resumed by the same call.
   *
   * Rejects with ERR_CLIP_INPUT naming the file if the store can't be written.
   */
  merge(source: Store, options?: MergeOptions): Promise<MergeResult> {
    return this.#run(async () => {
      if (!isObject(source) || !(#files in source)) throw argumentError('source', 'be a store', source)
      const o = checkOptions(options, ['signal', 'onProgress'])
      const signal = checkSignal(o.signal)
      const onProgress = callback('onProgress', o.onProgress)
      checkMergeable(this.folder, this.#files.now.header, source.folder, source.#files.now.header)
      return source.#run(async () => {
        const { now, files } = await source.#files.open(signal)
        const { rows } = now.log
        try {
          return await this.#files.appending(signal, (known, appendWith) => {
            const append = (items: readonly NewItem[], data: Uint8Array) =>
              appendWith(writer => writer.appendBytes(items, data))
            return mergeRows(now, files, rows, { known, signal, onProgress, append })
          })
        } finally {
          await files.close()
        }
      })
    })
  }

  /**
   * Reclaims the disk space of replaced rows: the remaining rows are written to new files, with the same ids, order and
   * bytes, which replace the old files in one step. A process that is killed leaves either the old or the new files.
   * Readers are not disturbed, in other processes either; the call waits while another process writes. It needs disk space
   * for the remaining rows.
   *
   * Rejects with ERR_CLIP_INPUT naming the file if the store can't be written.
   */
  compact(options?: CompactOptions): Promise<CompactResult> {
    return this.#run(async () => {
      const o = checkOptions(options, ['signal', 'onProgress'])
      const signal = checkSignal(o.signal)
      const onProgress = callback('onProgress', o.onProgress)
      return this.#files.writing(signal, async check => {
        const { now } = this.#files
        if (now.log.unused.size === 0 && !(await now.hasRest())) return { removed: 0, bytes: 0 }
        const result = await writeNextGeneration(this.folder, now, check, signal, onProgress)
        await this.#files.refresh(undefined)
        await this.#files.removeLeftovers(check)
        return result
      })
    })
  }

  /**
   * Returns the items that are most similar to the query, best first; of equal scores, the item added first. The search is
   * exact: every vector is compared. A string is a text; for an image file pass `{ image: path }`, and for both
   * `{ text, image, weight }`.
   *
   * Rejects like encodeText and encodeImage.
   */
  search(query: StoreQuery, options?: SearchOptions): Promise<Match[]> {
    return this.#run(async () => {
      const o = checkOptions(options, ['topK', 'signal'])
      const signal = checkSignal(o.signal)
      const topK = integer('topK', o.topK ?? 10, 1)
      this.#loaded.calls.throwIfDisposed()
      const queries = await queryVector(this.#loaded, query, signal)
      const { log, classes, files } = await this.#files.on(signal, async now => ({
        log: now.log,
        classes: await this.#open(now),
        files: await now.open(signal),
      }))
      try {
        if (!classes) return []
        const found = await bestRows(this.#loaded, queries, classes, log.unused, topK, signal)
        const matches: Match[] = []
        const room = Buffer.allocUnsafeSlow(longestLine)
        for (const { row, score } of found)
          matches.push({ id: (await log.item(files.items, row, room)).id, score })
        return matches
      } finally {
        await files.close()
      }
    })
  }

  /**
   * Yields every pair of items whose cosine is at least `threshold`. The search is exact: it compares all items with each
   * other in tiles, so its work grows with the square of the number of items, but its memory does not (26 MB at dimension
   * 512).
   */
  async *nearDuplicates(options: NearDuplicateOptions): AsyncGenerator<NearDuplicate, void, void> {
    if (options === undefined) throw argumentError('options', 'be an object with `threshold`', options)
    const o = checkOptions(options, ['threshold', 'signal', 'onProgress'])
    const { threshold } = o
    if (typeof threshold !== 'number') throw argumentError('threshold', 'be a number from -1 to 1', threshold)
    if (!(threshold >= -1 && threshold <= 1))
      throw argumentError('threshold', 'be a number from -1 to 1', threshold, 'range')
    const signal = checkSignal(o.signal)
    const onProgress = callback('onProgress', o.onProgress)
    yield* this.#withFiles(signal, (now, files) =>
      nearDuplicates(this.#loaded, now.tiles(files, signal), threshold, signal, onProgress),
    )
  }

  /** Yields the ids, in the order in which their rows were added. */
  async *ids(options?: { signal?: AbortSignal }): AsyncGenerator<string, void, void> {
    const signal = checkSignal(checkOptions(options, ['signal']).signal)
    for await (const item of this.#withFiles(signal, ({ log }, { items }) => log.items(items, signal)))
      yield item.id
  }

  /** Yields ids and embeddings, at most 1024 at a time; every row is verified against its checksum. */
  async *batches(options?: { signal?: AbortSignal }): AsyncGenerator<StoreBatch, void, void> {
    const signal = checkSignal(checkOptions(options, ['signal']).signal)
    yield* this.#withFiles(signal, (now, files) => now.batches(files, now.log.rows, signal))
  }

  /**
   * Exports all items to one file: `.npy` (float32 rows for numpy.load, with the ids in a file `.ids.jsonl` beside it, one
   * JSON string per line), `.arrow` (columns id and vector; needs the package apache-arrow) or `.parquet` (the same
   * columns; needs hyparquet-writer). The file is written completely or not at all, in a separate thread.
   *
   * Rejects with ERR_CLIP_INPUT naming the file that can't be written, or the package that is not installed.
   */
  export(file: string | URL, options?: { signal?: AbortSignal }): Promise<void> {
    return this.#run(async () => {
      const path = pathOf('file', file)
      const signal = checkSignal(checkOptions(options, ['signal']).signal)
      await (require('./export.js') as typeof import('./export.js')).exportStore(this.folder, path, signal)
    })
  }

  /** Closes the store. Running calls finish, later ones reject with ERR_CLIP_DISPOSED; resolves once the files are closed. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      await Promise.allSettled(this.#running)
      await this.#matrix?.matrix.close()
    })()
    return this.#closed
  }

  /** `await using store = await clip.openStore(folder)` */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new ClipError('ERR_CLIP_DISPOSED', 'This store was closed', { file: this.folder })
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    this.#throwIfClosed()
    const running = work()
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }

  async #open(now: Generation): Promise<Matrix | undefined> {
    const { rows } = now.log
    const before = this.#matrix
    if (before?.of === now && before.matrix.rows === rows) return before.matrix
    this.#matrix = undefined
    void before?.matrix.close()
    if (rows === 0) return undefined
    const matrix = await openMatrix(now.files.vectors, { rows, dim: this.embedDim, dtype: this.dtype })
    this.#matrix = { of: now, matrix }
    return matrix
  }

  /** Runs a generator over the current files, and closes them when its consumer stops. */
  async *#withFiles<T>(
    signal: AbortSignal | undefined,
    body: (now: Generation, files: OpenFiles) => AsyncGenerator<T, void, void>,
  ): AsyncGenerator<T, void, void> {
    this.#throwIfClosed()
    const { now, files } = await this.#files.open(signal)
    try {
      for await (const item of body(now, files)) {
        this.#throwIfClosed()
        yield item
      }
    } finally {
      await files.close()
    }
  }
}
traceMethods(Store)
