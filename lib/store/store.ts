/** A folder of embeddings on disk: pictures go in, words or pictures find them. */

import { resolve } from 'node:path'
import { crc32 } from 'node:zlib'
import { checkFingerprint } from '../classifier-file.js'
import { Embeddings } from '../embeddings.js'
import type { Loaded } from '../encode.js'
import { argumentError, ClipError } from '../errors.js'
import { withLock } from '../hub/lock.js'
import { cosineTopK } from '../kernels/cosine.js'
import { type Matrix, openMatrix } from '../matrix.js'
import { callback, checkOptions, checkSignal, flag, integer, oneOf, pathOf } from '../options.js'
import { RegularFile } from '../regular-file.js'
import { kernelBackend } from '../similarity.js'
import { type AddResult, addAll, type StoreInput } from './add.js'
import { createStore } from './create.js'
import { type NearDuplicate, nearDuplicates } from './duplicates.js'
import { damaged, faultOf, writeError } from './errors.js'
import { dtypes, filesOf, type Header, readHeader, type StoreDtype } from './header.js'
import { Known } from './known.js'
import { Log } from './log.js'
import { queryVector, type StoreQuery } from './query.js'
import type {
  AddOptions,
  Match,
  NearDuplicateOptions,
  OpenStoreOptions,
  SearchOptions,
  StoreBatch,
} from './types.js'
import { bytesOf, readRows } from './vectors.js'
import { type NewItem, Writer } from './writer.js'

/** Rows of a batch that is read. */
const batchRows = 1024

/**
 * Embeddings on disk. Made by `clip.openStore`; belongs to the model that opened it. Any number of processes may read,
 * one at a time writes. Vectors are read from the file and never in memory as a whole; memory per item is 12 bytes, and
 * about 150 more once something is added.
 *
 * Rejections of every method: ERR_CLIP_CHECKPOINT naming file and field when the store is damaged, ERR_CLIP_DISPOSED
 * when it or its model was closed, `signal.reason`.
 */
export class Store implements AsyncDisposable {
  readonly folder: string
  readonly dtype: StoreDtype
  readonly embedDim: number
  readonly #loaded: Loaded
  readonly #header: Header
  readonly #files: ReturnType<typeof filesOf>
  readonly #log: Log
  #known: Known | undefined
  #matrix: Matrix | undefined
  /** The log is read and written by one at a time. */
  #last: Promise<unknown> = Promise.resolve()
  readonly #running = new Set<Promise<unknown>>()
  #closed: Promise<void> | undefined

  private constructor(loaded: Loaded, folder: string, header: Header) {
    this.#loaded = loaded
    this.folder = folder
    this.#header = header
    this.dtype = header.dtype
    this.embedDim = header.embedDim
    this.#files = filesOf(folder)
    this.#log = new Log(this.#files.items)
  }

  /** @internal */
  static async open(loaded: Loaded, source: string | URL, options?: OpenStoreOptions): Promise<Store> {
    const folder = resolve(pathOf('folder', source))
    const o = checkOptions(options, ['create', 'dtype', 'signal'])
    const signal = checkSignal(o.signal)
    const create = flag('create', o.create ?? false)
    const dtype = o.dtype === undefined ? undefined : oneOf('dtype', o.dtype, dtypes)
    loaded.calls.throwIfDisposed()
    let header = await readHeader(folder, signal)
    if (!header && create) header = await createStore(loaded, folder, dtype ?? 'float32', signal)
    const { header: file } = filesOf(folder)
    if (!header)
      throw new ClipError('ERR_CLIP_INPUT', `${folder}: is no store; \`create: true\` makes one`, {
        file: folder,
        field: 'create',
        expected: 'a folder with store.json',
      })
    const { fingerprint, embedDim } = header
    checkFingerprint(loaded.checkpoint.fingerprint, file, 'this store', fingerprint)
    if (embedDim !== loaded.spec.embedDim)
      throw damaged(file, 'embedDim', `expected \`embedDim\` to be ${loaded.spec.embedDim}, got ${embedDim}`)
    if (dtype !== undefined && dtype !== header.dtype)
      throw argumentError('dtype', `be '${header.dtype}', as the store was made`, dtype)
    const store = new Store(loaded, folder, header)
    await store.#refresh(signal)
    return store
  }

  /** How many items it has, as far as this process knows: what others add is seen by the next search. */
  get size(): number {
    return this.#log.rows - this.#log.replaced.size
  }

  /**
   * Embeds pictures and appends them, 64 at a time: a batch is on the disk before it is reported, and a kill at any
   * moment loses nothing that was. Call it again with the same pictures to go on.
   *
   * An item that is there is skipped; a file whose size or time of modification has changed is embedded again and takes
   * the place of the old one (whose row stays on the disk unused). While another process adds to the store it waits.
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
      try {
        return await withLock(this.#files.lock, { signal }, async lock => {
          await this.#refresh(signal)
          const known = await this.#index(signal)
          const writer = await this.#exclusively(() =>
            Writer.open(this.#header, this.#log, this.#files.vectors),
          )
          try {
            const append = (items: readonly NewItem[], rows: Float32Array) =>
              this.#exclusively(async () => {
                await lock.check()
                for (const item of await writer.append(items, rows)) known.note(item)
              })
            const loaded = this.#loaded
            return await addAll(inputs, { loaded, known, collect, signal, onProgress, total, append })
          } finally {
            await writer.close()
          }
        })
      } catch (error) {
        throw writeError(error, this.#files.lock)
      }
    })
  }

  /**
   * The items that are most like the query, best first, equal scores by age: every vector is compared, nothing is
   * approximated. A string is words; a picture of a path is `{ image: path }`; `{ text, image, weight }` is both.
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
      const { rows, classes } = await this.#exclusively(async () => {
        await this.#read(signal)
        return { rows: this.#log.rows, classes: await this.#open() }
      })
      if (!classes) return []
      // So many that enough are left when those that were replaced are taken out.
      const k = Math.min(rows, topK + this.#log.replaced.size)
      const backend = kernelBackend(this.#loaded) as 'reference' | undefined
      const threads = this.#loaded.model.threads
      const best = await cosineTopK({ queries, classes, k, as: 'cosine', threads, backend, signal })
      const found: { row: number; score: number }[] = []
      for (const [i, row] of best.index.entries())
        if (!this.#log.replaced.has(row) && found.length < topK) found.push({ row, score: best.value[i]! })
      const items = await this.#log.itemsOf(
        found.map(f => f.row),
        signal,
      )
      return found.map(({ score }, i) => ({ id: items[i]!.id, score }))
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
    await this.#refresh(signal)
    const { rows, replaced } = this.#log
    yield* this.#withVectors(signal, file =>
      nearDuplicates(
        this.#loaded,
        {
          rows,
          replaced,
          read: (first, count) => readRows(file, this.#log.crcs, this.#header, first, count),
          ids: async (first, count) => {
            const ids = new Array<string | undefined>(count)
            for await (const item of this.#log.items(signal, first, first + count))
              ids[item.row - first] = item.id
            return ids
          },
        },
        threshold,
        signal,
        onProgress,
      ),
    )
  }

  /** The ids, in the order in which their rows were added. */
  async *ids(options?: { signal?: AbortSignal }): AsyncGenerator<string, void, void> {
    const signal = checkSignal(checkOptions(options, ['signal']).signal)
    await this.#refresh(signal)
    for await (const item of this.#log.items(signal)) {
      this.#throwIfClosed()
      yield item.id
    }
  }

  /** Ids and embeddings, at most 1024 at a time; every row is compared with its checksum. */
  async *batches(options?: { signal?: AbortSignal }): AsyncGenerator<StoreBatch, void, void> {
    const signal = checkSignal(checkOptions(options, ['signal']).signal)
    await this.#refresh(signal)
    yield* this.#withVectors(signal, file => this.#batchesOf(file, this.#log.rows, signal))
  }

  async *#batchesOf(file: RegularFile, rows: number, signal: AbortSignal | undefined) {
    const dim = this.embedDim
    for (let first = 0; first < rows; first += batchRows) {
      const count = Math.min(batchRows, rows - first)
      const data = await readRows(file, this.#log.crcs, this.#header, first, count)
      const ids: string[] = []
      for await (const item of this.#log.items(signal, first, first + count)) {
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

  /**
   * Writes everything to one file: `.npy` (float32 rows for numpy.load, and their ids beside it in `.ids.jsonl`, a JSON
   * string a line), `.arrow` (columns id and vector; needs the package apache-arrow) or `.parquet` (the same; needs
   * hyparquet-writer). Written beside and renamed: whole or not at all.
   *
   * Rejects with ERR_CLIP_INPUT naming the file when it can't be written, or the package that is not installed.
   */
  export(file: string | URL, options?: { signal?: AbortSignal }): Promise<void> {
    return this.#run(async () => {
      const path = pathOf('file', file)
      const signal = checkSignal(checkOptions(options, ['signal']).signal)
      await this.#refresh(signal)
      await (await import('./export.js')).exportStore(this, path, signal)
    })
  }

  /** Running calls finish, later ones reject with ERR_CLIP_DISPOSED; resolves when the files are closed. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      await Promise.allSettled(this.#running)
      await this.#matrix?.close()
    })()
    return this.#closed
  }

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

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work)
    this.#last = mine.catch(() => {})
    return mine
  }

  #refresh(signal: AbortSignal | undefined): Promise<void> {
    this.#throwIfClosed()
    return this.#exclusively(() => this.#read(signal))
  }

  /** Takes note of what was added, by whomever. */
  async #read(signal: AbortSignal | undefined): Promise<void> {
    const log = this.#log
    const before = log.rows
    await log.refresh(signal, item => this.#known?.note(item))
    if (log.rows === before && before > 0) return
    const { vectors } = this.#files
    const rowBytes = this.embedDim * bytesOf[this.dtype]
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
      for (let row = Math.max(log.lastBatch, log.rows - batchRows); row < log.rows; row++)
        if (crc32(await file.read(row * rowBytes, rowBytes)) !== log.crcs.at(row))
          throw damaged(vectors, `row ${row}`, `row ${row} is damaged: its checksum is another`)
    } finally {
      await file.close()
    }
  }

  async #index(signal: AbortSignal | undefined): Promise<Known> {
    if (this.#known) return this.#known
    return this.#exclusively(async () => {
      const known = new Known(this.#files.items)
      for await (const item of this.#log.every(signal)) known.note(item)
      this.#known = known
      return known
    })
  }

  async #open(): Promise<Matrix | undefined> {
    const { rows } = this.#log
    if (this.#matrix?.rows === rows) return this.#matrix
    const before = this.#matrix
    this.#matrix = undefined
    void before?.close()
    if (rows > 0)
      this.#matrix = await openMatrix(this.#files.vectors, { rows, dim: this.embedDim, dtype: this.dtype })
    return this.#matrix
  }

  /** Runs a generator over the file of vectors, and closes the file when its reader stops. */
  async *#withVectors<T>(
    signal: AbortSignal | undefined,
    body: (file: RegularFile) => AsyncGenerator<T, void, void>,
  ): AsyncGenerator<T, void, void> {
    const { vectors } = this.#files
    const file = await RegularFile.open(vectors, faultOf(vectors, 'rows'), signal)
    try {
      for await (const item of body(file)) {
        this.#throwIfClosed()
        yield item
      }
    } finally {
      await file.close()
    }
  }
}

function inputsOf(images: unknown): Iterable<StoreInput> | AsyncIterable<StoreInput> {
  const one = typeof images === 'string' || images instanceof URL
  if (one) return [images]
  if (images !== null && typeof images === 'object') {
    if (Symbol.iterator in images || Symbol.asyncIterator in images)
      return images as Iterable<StoreInput> | AsyncIterable<StoreInput>
    if ('id' in images) return [images as StoreInput]
  }
  throw argumentError('images', 'be paths or { id, image }, one, an array or an iterable of them', images)
}
