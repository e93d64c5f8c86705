/** The folder of an open store: its current contents, whichever process wrote them; serialised reads, and writes under the lock. */

import { withLock } from '../hub/lock.js'
import { lockOptions, writeError } from './errors.js'
import { Generation, type OpenFiles, removeLeftovers, revokeHeaders } from './generation.js'
import { checkSameStore, filesOf, headerOfSame, readStoreHeader, type StoreHeader } from './header.js'
import { Known } from './known.js'
import { Writer } from './writer.js'

export class StoreFiles {
  now: Generation
  readonly #lock: string
  #known: Known | undefined
  /** Serialises reading and writing of the log. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    readonly folder: string,
    header: StoreHeader,
  ) {
    this.#lock = filesOf(folder).lock
    this.now = new Generation(folder, header)
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work)
    this.#last = mine.catch(() => {})
    return mine
  }

  /** Reads what other processes have added. */
  refresh(signal: AbortSignal | undefined): Promise<void> {
    return this.on(signal, async () => {})
  }

  /** Runs `work` on the current files, and again if another process has compacted the store in the meantime. */
  on<T>(signal: AbortSignal | undefined, work: (now: Generation) => Promise<T>): Promise<T> {
    return this.#on(signal, () => readStoreHeader(this.folder, signal), work)
  }

  /** `header` reads the header that the work starts with. It is read once, because that takes five system calls. */
  #on<T>(
    signal: AbortSignal | undefined,
    header: () => Promise<StoreHeader | undefined>,
    work: (now: Generation) => Promise<T>,
  ): Promise<T> {
    return this.#exclusively(async () => {
      this.#follow(await header())
      for (;;) {
        try {
          await this.now.refresh(signal, item => this.#known?.note(item))
          return await work(this.now)
        } catch (error) {
          if (!this.#follow(await readStoreHeader(this.folder, signal))) throw error
        }
      }
    })
  }

  open(signal: AbortSignal | undefined): Promise<{ now: Generation; files: OpenFiles }> {
    return this.on(signal, async now => ({ now, files: await now.open(signal) }))
  }

  /** Whether the store has changed its files (a compaction). */
  #follow(header: StoreHeader | undefined): boolean {
    const before = this.now.header
    if (!header || header.generation === before.generation) return false
    checkSameStore(this.folder, before, header)
    this.now = new Generation(this.folder, header)
    this.#known = undefined
    return true
  }

  /** Runs `work` while no other process can write, after reading everything that others have written. */
  async writing<T>(
    signal: AbortSignal | undefined,
    work: (check: () => Promise<void>) => Promise<T>,
  ): Promise<T> {
    try {
      return await withLock(this.#lock, lockOptions(this.#lock, signal), async lock => {
        const check = () => lock.check()
        await revokeHeaders(this.folder)
        await this.#on(
          signal,
          () => headerOfSame(this.folder, this.now.header, signal),
          async () => {},
        )
        await removeLeftovers(this.folder, this.now.header, check)
        return await work(check)
      })
    } catch (error) {
      throw writeError(error, this.#lock)
    }
  }

  /** The same with a writer, whose appends are serialised; they are on disk and known to this process when it resolves. */
  appending<T>(
    signal: AbortSignal | undefined,
    work: (known: Known, append: (how: (writer: Writer) => Promise<void>) => Promise<void>) => Promise<T>,
  ): Promise<T> {
    return this.writing(signal, async check => {
      const known = await this.#index(signal)
      const writer = await this.#exclusively(() => Writer.open(this.now, known, check))
      try {
        return await work(known, how => this.#exclusively(() => how(writer)))
      } finally {
        await writer.close()
      }
    })
  }

  /** Removes the files of other generations. Call it only while writing. */
  removeLeftovers(check: () => Promise<void>): Promise<void> {
    return removeLeftovers(this.folder, this.now.header, check)
  }

  async #index(signal: AbortSignal | undefined): Promise<Known> {
    if (this.#known) return this.#known
    return this.on(signal, async ({ log, files }) => {
      const known = new Known(files.items)
      const file = await log.open(signal)
      try {
        for await (const item of log.every(file, signal)) known.note(item)
      } finally {
        await file.close()
      }
      this.#known = known
      return known
    })
  }
}
