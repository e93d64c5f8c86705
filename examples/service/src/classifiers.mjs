/** The classifiers of requests, created from their labels or read from a folder. The most recently used ones are cached. */

import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { templates } from 'clip-native'
import { ServiceError } from './errors.mjs'
import { untilAborted } from './until-aborted.mjs'

/** Sets of templates that a request can name. */
export const templateSets = {
  none: ['{}'],
  icon: ['an icon of {}'],
  icons: [
    ...['{}', 'an icon of {}', 'an emoji of {}', 'a drawing of {}'],
    ...['a picture of {}', 'a symbol of {}', '{} icon'],
  ],
  photo: templates.simple,
  imagenet7: templates.imagenet7,
  imagenet80: templates.imagenet80,
}

/**
 * A cache that drops the least recently used entries, by number and by bytes. Simultaneous requests for an entry share its
 * computation, which is aborted when the last of them is aborted.
 */
export class Cache {
  hits = 0
  misses = 0
  bytes = 0
  #most
  #kept = new Map()
  #making = new Map()

  constructor({ entries, bytes }) {
    this.#most = { entries, bytes }
  }

  get size() {
    return this.#kept.size
  }

  async get(key, make, bytesOf, signal) {
    const kept = this.#kept.get(key)
    if (kept) {
      this.hits++
      this.#kept.delete(key)
      this.#kept.set(key, kept) // the most recent entry
      return kept.value
    }
    this.misses++
    const making = this.#making.get(key) ?? this.#start(key, make, bytesOf)
    making.waiting++
    try {
      return await untilAborted(making.promise, signal)
    } finally {
      if (--making.waiting === 0) {
        this.#forget(key, making)
        making.control.abort(signal.reason)
      }
    }
  }

  #start(key, make, bytesOf) {
    const control = new AbortController()
    const making = { control, waiting: 0 }
    making.promise = make(control.signal).then(value => {
      this.#keep(key, value, bytesOf(value))
      return value
    })
    making.promise.catch(() => {}).finally(() => this.#forget(key, making))
    this.#making.set(key, making)
    return making
  }

  #forget(key, making) {
    if (this.#making.get(key) === making) this.#making.delete(key)
  }

  #keep(key, value, bytes) {
    if (bytes > this.#most.bytes) return
    this.#kept.set(key, { value, bytes })
    this.bytes += bytes
    for (const [oldest, { bytes: less }] of this.#kept) {
      if (this.#kept.size <= this.#most.entries && this.bytes <= this.#most.bytes) break
      this.#kept.delete(oldest)
      this.bytes -= less
    }
  }
}

export class Classifiers {
  #clip
  #config
  #folder

  constructor(clip, config) {
    this.#clip = clip
    this.#config = config
    this.#folder = join(config.data, 'classifiers')
    this.cache = new Cache({ entries: config.cacheEntries, bytes: config.cacheBytes })
  }

  /** Names of the saved classifiers. */
  async names() {
    const files = await readdir(this.#folder).catch(() => [])
    return files.filter(file => file.endsWith('.safetensors')).map(file => file.slice(0, -12))
  }

  /** The classifier of a request: `{ classifier }` or `{ labels, templates | templateSet }`. */
  async of({ classifier, labels, templates: own, templateSet }, signal) {
    if (classifier !== undefined) return this.#saved(classifier, signal)
    const texts = own ?? templateSets[templateSet ?? 'none']
    const { maxPrompts, maxPromptLength } = this.#config
    if (labels.length * texts.length > maxPrompts)
      throw new ServiceError(
        'BAD_REQUEST',
        `${labels.length} labels x ${texts.length} templates are more than ${maxPrompts} texts`,
      )
    // A template may contain its label many times.
    const longest = Math.max(...labels.map(label => label.length))
    for (const text of texts) {
      const length = text.length + (text.split('{}').length - 1) * (longest - 2)
      if (length > maxPromptLength)
        throw new ServiceError(
          'BAD_REQUEST',
          `a template and the longest label make a text of ${length} characters, more than ${maxPromptLength}`,
        )
    }
    const key = createHash('sha256')
      .update(JSON.stringify([labels, texts]))
      .digest('base64')
    return this.#cached(
      key,
      control => this.#clip.classifier(labels, { templates: texts, signal: control }),
      signal,
    )
  }

  async #saved(name, signal) {
    const file = join(this.#folder, `${name}.safetensors`)
    const stats = await stat(file).catch(() => undefined)
    if (!stats) throw new ServiceError('UNKNOWN_CLASSIFIER', `there is no classifier '${name}'`)
    // A file that was written again is another classifier.
    const key = `${name} ${stats.mtimeMs} ${stats.size}`
    return this.#cached(key, control => this.#clip.loadClassifier(file, { signal: control }), signal)
  }

  #cached(key, make, signal) {
    // Embeddings in float32, and the same amount for the labels themselves.
    const bytesOf = ({ embeddings }) => 2 * 4 * embeddings.shape[0] * embeddings.shape[1]
    return this.cache.get(key, make, bytesOf, signal)
  }
}
