/** A folder of embeddings on disk: images go in, words or images find them. */

import { resolve } from 'node:path'
import { argumentError, ClipError } from '../base/errors.js'
import { callback, checkOptions, checkSignal, flag, integer, oneOf, pathOf } from '../base/options.js'
import { traceMethods } from '../base/stack.js'
import { isObject } from '../base/values.js'
import type { Loaded } from '../encode/loaded-model.js'
import { type Matrix, openMatrix } from '../kernels/matrix.js'
import { type AddResult, addAll, inputsOf, type StoreInput } from './add.js'
import { type CompactResult, writeNextGeneration } from './compact.js'
import { openHeader } from './create.js'
import { type NearDuplicate, nearDuplicates } from './duplicates.js'
import { StoreFiles } from './files.js'
import type { Generation, OpenFiles } from './generation.js'
import { dtypes, type StoreDtype, type StoreHeader } from './header.js'
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
 * Embeddings on disk. Made by `clip.openStore`; belongs to the model that opened it. Any number of processes may read,
 * one at a time writes. Vectors are read from the file and never in memory as a whole; memory per item is 12 bytes, and
 * about 150 more once something is added.
 *
 * Rejections of every method: ERR_CLIP_CHECKPOINT naming file and field when the store is damaged, ERR_CLIP_DISPOSED
 * when it or its model was closed, `signal.reason`.
 */
export class Store implements AsyncDisposable {
  /** Where it lies, as an absolute path. */
  readonly folder: string
  /** How a number of a vector is kept on the disk. */
  readonly dtype: StoreDtype
  /** Numbers of a vector. */
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
    const dtype = o.dtype === undefined ? undefined : oneOf('dtype', o.dtype, dtypes)
    loaded.calls.throwIfDisposed()
    const store = new Store(loaded, folder, await openHeader(loaded, folder, create, dtype, signal))
    await store.#files.refresh(signal)
    return store
  }

  /** How many items it has, as far as this process knows: what others add is seen by the next search. */
  get size(): number {
    const { log } = this.#files.now
    return log.rows - log.unused.size
  }

  /**
   * Embeds images and appends them, 64 at a time: a batch is on the disk before it is reported, and a kill at any
   * moment loses nothing that was. Call it again with the same images to go on.
   *
   * An item that is there is skipped; a file whose size or time of modification has changed is embedded again and takes
   * the place of the old one (whose row stays on the disk, unused, until `compact`). While another process adds to the
   * store it waits.
   *
   * For `maxQueue` it is one call from its beginning to its end: ERR_CLIP_BUSY rejects it before anything is added, or not
   * at all.
   *
   * Rejects as encodeImage does, and with ERR_CLIP_INPUT naming the file when the store can't be written.
   */
  add(
    images: StoreInput | Iterable<StoreInput> | AsyncIterable<StoreInput>,
    options?: AddOptions,
  ): Promise<AddResult> {
    return this.#run(async () => {
      const o = checkOptions(options, ['errors', 'signal', 'onProgress'])
      const signal = checkSignal(o.signal)
      const onProgress = callback('onProgress', o.onProgress)
      const collect = oneOf('errors', o.errors ?? 'throw', ['throw', 'collect']) === 'collect'
      const inputs = inputsOf(images)
      const total = Array.isArray(inputs) ? inputs.length : undefined
      const loaded = this.#loaded
      return loaded.calls.run(signal, call =>
        this.#files.appending(signal, (known, appendWith) => {
          const append = (items: readonly NewItem[], rows: Float32Array) =>
            appendWith(writer => writer.append(items, rows))
          return addAll(inputs, { loaded, call, known, collect, signal, onProgress, total, append })
        }),
      )
    })
  }

  /**
   * Appends what another store holds, in its order and with the same bytes: parts that several processes or machines
   * embedded become one store. Both must be of one model and dtype. An item that is there is skipped; a file of another
   * size or time of modification takes the place of the old one, as in `add`. Killed at any moment, the same call goes on.
   *
   * Rejects with ERR_CLIP_INPUT naming the file when the store can't be written.
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
   * Gives back the disk space of rows that were replaced: what is left is written beside, with the same ids, order and
   * bytes, and takes the place of the old files in one step. A kill at any moment leaves the one or the other. Readers go
   * on meanwhile, in other processes too; while another process adds it waits. Takes the disk space of what is left.
   *
   * Rejects with ERR_CLIP_INPUT naming the file when the store can't be written.
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
   * The items that are most like the query, best first, equal scores by age: every vector is compared, nothing is
   * approximated. A string is words; an image of a path is `{ image: path }`; `{ text, image, weight }` is both.
   *
   * Rejects as encodeText and encodeImage do.
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
        for (const { row, score } of found) matches.push({ id: (await log.item(files.items, row)).id, score })
        return matches
      } finally {
        await files.close()
      }
    })
  }

  /**
   * Every pair of items whose cosine is at least `threshold`, exactly. Compares all with all in tiles: work grows with
   * the square of the items, memory does not (26 MB at 512 values).
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

  /** The ids, in the order in which their rows were added. */
  async *ids(options?: { signal?: AbortSignal }): AsyncGenerator<string, void, void> {
    const signal = checkSignal(checkOptions(options, ['signal']).signal)
    for await (const item of this.#withFiles(signal, ({ log }, { items }) => log.items(items, signal)))
      yield item.id
  }

  /** Ids and embeddings, at most 1024 at a time; every row is compared with its checksum. */
  async *batches(options?: { signal?: AbortSignal }): AsyncGenerator<StoreBatch, void, void> {
    const signal = checkSignal(checkOptions(options, ['signal']).signal)
    yield* this.#withFiles(signal, (now, files) => now.batches(files, now.log.rows, signal))
  }

  /**
   * Writes everything to one file: `.npy` (float32 rows for numpy.load, and their ids beside it in `.ids.jsonl`, a JSON
   * string a line), `.arrow` (columns id and vector; needs the package apache-arrow) or `.parquet` (the same; needs
   * hyparquet-writer). Written beside and renamed: whole or not at all. A thread of its own does it, batch by batch.
   *
   * Rejects with ERR_CLIP_INPUT naming the file when it can't be written, or the package that is not installed.
   */
  export(file: string | URL, options?: { signal?: AbortSignal }): Promise<void> {
    return this.#run(async () => {
      const path = pathOf('file', file)
      const signal = checkSignal(checkOptions(options, ['signal']).signal)
      await (require('./export.js') as typeof import('./export.js')).exportStore(this.folder, path, signal)
    })
  }

  /** Running calls finish, later ones reject with ERR_CLIP_DISPOSED; resolves when the files are closed. Idempotent. */
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

  /** Runs a generator over the files as they are now, and closes them when its reader stops. */
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
