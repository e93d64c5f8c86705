/** The folder that can be searched: embedded once into a store, in the background, and again where files changed. */

import { access, opendir } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { ServiceError } from './errors.mjs'

const pictureName = /\.(jpe?g|png|webp|gif|avif)$/i

async function* picturesIn(folder) {
  for await (const entry of await opendir(folder, { recursive: true })) {
    if (!entry.isFile() || !pictureName.test(entry.name)) continue
    const image = join(entry.parentPath, entry.name)
    // An id of its own, so that the folder can be moved and the answers do not tell where it lies.
    yield { id: relative(folder, image).split(sep).join('/'), image }
  }
}

export class Pictures {
  #folder
  #store
  #control = new AbortController()
  #indexing
  #state = { indexing: true, failed: 0 }

  /** Opens the store and starts to embed what is new. */
  static async open(clip, folder, storeFolder, log) {
    const pictures = new Pictures()
    pictures.#folder = folder
    pictures.#store = await clip.openStore(storeFolder, { create: true })
    pictures.#indexing = pictures.#index(log)
    return pictures
  }

  async #index(log) {
    const { signal } = this.#control
    try {
      const { added, updated, skipped, errors } = await this.#add(signal)
      this.#state.failed = errors.length
      for (const { id, error } of errors) log.warn(`${id}: ${error.message}`)
      log.info(`pictures: ${added} new, ${updated} again, ${skipped} as before, ${errors.length} failed`)
    } catch (error) {
      if (!signal.aborted) log.error('embedding the pictures failed:', error)
    }
    this.#state.indexing = false
  }

  /** Requests come first: when so many wait that there is no place for these pictures, they try again later. */
  async #add(signal) {
    for (;;) {
      try {
        return await this.#store.add(picturesIn(this.#folder), { errors: 'collect', signal })
      } catch (error) {
        if (error.code !== 'ERR_CLIP_BUSY') throw error
        await wait(1000, undefined, { signal })
      }
    }
  }

  state() {
    return { count: this.#store.size, ...this.#state }
  }

  /** Resolves when every picture is embedded. */
  indexed() {
    return this.#indexing
  }

  async search({ text, image, weight }, { topK, signal }) {
    const query = {
      ...(text === undefined ? {} : { text }),
      ...(image === undefined ? {} : { image }),
      ...(weight === undefined ? {} : { weight }),
    }
    const found = await this.#store.search(query, { topK, signal })
    // The store keeps what was once in the folder.
    const there = await Promise.all(
      found.map(({ id }) =>
        access(join(this.#folder, id)).then(
          () => true,
          () => false,
        ),
      ),
    )
    const matches = found
      .filter((_, i) => there[i])
      .map(({ id, score }) => ({
        id,
        url: `/pictures/${id.split('/').map(encodeURIComponent).join('/')}`,
        score,
      }))
    return { matches, pictures: this.#store.size }
  }

  async close() {
    this.#control.abort()
    await this.#indexing
    await this.#store.close()
  }
}

/** For an encoder without a store. */
export const noPictures = {
  state: () => ({ count: 0, indexing: false, failed: 0 }),
  search: async () => {
    throw new ServiceError('NOT_FOUND', 'this service searches no folder')
  },
  close: async () => {},
}
