/** Every setting with its default. All can be given in the environment: `maxQueue` as MAX_QUEUE. */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('..', import.meta.url))
/** The images that come with the embedded model. */
export const exampleImages = join(here, '../../models/icon-clip/examples')

const MiB = 2 ** 20

export const defaults = {
  host: '127.0.0.1',
  port: 8080,
  /**
   * Names under which clients reach the service, separated by commas; '*' for any. Empty: localhost and `host`. A request for
   * another name is refused, which prevents DNS rebinding by a web page.
   */
  hosts: '',
  logLevel: 'info',

  /** As `load` takes it; empty: the embedded model, which knows icons and emoji, not photographs. */
  model: '',
  dtype: 'float32',
  /** Threads per pass; 0: the number of physical cores. */
  threads: 0,
  /** The folder that /search looks through, and /images serves. */
  images: exampleImages,
  /** Where the service keeps its store and looks for saved classifiers (`classifiers/NAME.safetensors`). */
  data: join(here, 'data'),

  /** Maximum size of a request's body. */
  maxBodyBytes: 10 * MiB,
  /** Maximum size of a JSON body, which is parsed in one piece on the JavaScript thread. Send larger images raw or as multipart. */
  maxJsonBytes: MiB / 8,
  /** Maximum memory of all bodies that are being received or processed. */
  maxBodiesBytes: 128 * MiB,
  maxConnections: 1024,
  /** Maximum number of pixels according to an image's header; larger images are never decoded. */
  maxPixels: 40_000_000,
  /** 'fast' decodes large JPEG and WebP images at a fraction of their size. */
  decode: 'exact',
  maxLabels: 1000,
  /** Maximum number of labels times templates in a request. */
  maxPrompts: 4000,
  /** Maximum number of characters of a label, a template or a text. */
  maxTextLength: 300,
  /** Maximum number of characters of a prompt, after the label has been inserted into its template. */
  maxPromptLength: 1000,
  maxTexts: 32,
  /** Number of calls that may wait for the model; a further one is answered with 503. */
  maxQueue: 64,

  /** Time limit in milliseconds for the first byte of a body, after the headers. */
  startMs: 3_000,
  /** Time limit for a request to arrive, including its body. */
  receiveMs: 10_000,
  /** Time limit for decoding an image. */
  decodeMs: 10_000,
  /** Time limit from then to the answer. */
  workMs: 30_000,
  /** Maximum number of cached classifiers, and their bytes. */
  cacheEntries: 64,
  cacheBytes: 64 * MiB,

  /** After SIGTERM, the time for which /healthz answers 503 before new connections are refused. */
  drainMs: 1000,
  /** The time that running requests may take after that. */
  shutdownMs: 15_000,
}

/** The settings, with those of the environment. Throws if a number is invalid. */
export function configFrom(env) {
  const config = { ...defaults }
  for (const name of Object.keys(defaults)) {
    const variable = name.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase()
    const value = env[variable]
    if (value === undefined) continue
    if (typeof defaults[name] === 'string') config[name] = value
    else if (/^\d+$/.test(value)) config[name] = Number(value)
    else throw new Error(`Expected ${variable} to be a whole number, got ${JSON.stringify(value)}`)
  }
  return config
}
