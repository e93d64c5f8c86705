/** The folder that can be searched. Its images are embedded into a store in the background, and again if files have changed. */

import { access } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { imageFiles } from 'clip-native'
import { ServiceError } from './errors.mjs'

/** Maximum number of left-out files that the log names. */
const mostNamed = 20

/** The images with ids relative to the folder, so that the folder can be moved and answers do not reveal its location. */
async function* imagesIn(folder, onLeftOut, signal) {
  for await (const image of imageFiles(folder, { onLeftOut, signal })) {
    // A name that is not UTF-8 is yielded as a file: URL, which can't be requested from /images.
    if (/^file:/.test(image)) onLeftOut({ path: image, message: 'has a name that is not UTF-8' })
    else yield { id: relative(folder, image).split(sep).join('/'), image }
  }
}

export class Images {
  #folder
  #store
  #control = new AbortController()
  #indexing
  #state = { indexing: true, failed: 0 }

  /** Opens the store and starts to embed what is new. */
  static async open(clip, folder, storeFolder, log) {
    const images = new Images()
    images.#folder = folder
    images.#store = await clip.openStore(storeFolder, { create: true })
    images.#indexing = images.#index(log)
    return images
  }

  async #index(log) {
    const { signal } = this.#control
    try {
      const leftOut = { count: 0, first: [] }
      const { added, updated, skipped, errors } = await this.#add(signal, leftOut)
      this.#state.failed = errors.length
      for (const { id, error } of errors) log.warn(`${id}: ${error.message}`)
      for (const { path, message } of leftOut.first)
        log.warn(`left out: ${JSON.stringify(relative(this.#folder, path))} ${message}`)
      if (leftOut.count > leftOut.first.length) log.warn(`left out: ${leftOut.count} in all`)
      log.info(`images: ${added} new, ${updated} again, ${skipped} as before, ${errors.length} failed`)
    } catch (error) {
      if (!signal.aborted) log.error('embedding the images failed:', error)
    }
    this.#state.indexing = false
  }

  /** Requests take precedence: if the queue is full, adding images is tried again later. */
  async #add(signal, leftOut) {
    for (;;) {
      Object.assign(leftOut, { count: 0, first: [] })
      const onLeftOut = one => {
        if (++leftOut.count <= mostNamed) leftOut.first.push(one)
      }
      try {
        const images = imagesIn(this.#folder, onLeftOut, signal)
        return await this.#store.add(images, { errors: 'collect', signal })
      } catch (error) {
        if (error.code !== 'ERR_CLIP_BUSY') throw error
        await wait(1000, undefined, { signal })
      }
    }
  }

  state() {
    return { count: this.#store.size, ...this.#state }
  }

  /** Resolves when every image is embedded. */
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
    // The store still has images that were removed from the folder.
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
        url: `/images/${id.split('/').map(encodeURIComponent).join('/')}`,
        score,
      }))
    return { matches, images: this.#store.size }
  }

  async close() {
    this.#control.abort()
    await this.#indexing
    await this.#store.close()
  }
}

/** For an encoder without a store. */
export const noImages = {
  state: () => ({ count: 0, indexing: false, failed: 0 }),
  search: async () => {
    throw new ServiceError('NOT_FOUND', 'this service searches no folder')
  },
  close: async () => {},
}
