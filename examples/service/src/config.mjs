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
   * Names under which clients reach the service, separated by commas; '*' for any. Empty: localhost and `host`. A
   * request for another name is refused, so that no web page can make its own name point here.
   */
  hosts: '',
  logLevel: 'info',

  /** As `load` takes it; empty: the embedded model, which knows icons and emoji, not photographs. */
  model: '',
  dtype: 'float32',
  /** Threads of one pass; 0: as many as there are physical cores. */
  threads: 0,
  /** The folder that /search looks through, and /images serves. */
  images: exampleImages,
  /** Where the service keeps its store and looks for saved classifiers (`classifiers/NAME.safetensors`). */
  data: join(here, 'data'),

  /** Of one request's body. */
  maxBodyBytes: 10 * MiB,
  /** JSON is parsed in one go on the JavaScript thread: what is larger comes raw or as multipart. */
  maxJsonBytes: MiB / 8,
  /** Memory of all bodies that are being received or worked on. */
  maxBodiesBytes: 128 * MiB,
  maxConnections: 1024,
  /** Of an image, by its header: larger ones are never decoded. */
  maxPixels: 40_000_000,
  maxLabels: 1000,
  /** Labels times templates of one request. */
  maxPrompts: 4000,
  /** Characters of a label, a template or a text. */
  maxTextLength: 300,
  /** Characters of a text after the label has been put into its template. */
  maxPromptLength: 1000,
  maxTexts: 32,
  /** Calls that wait for the model; one more is 503. */
  maxQueue: 64,

  /** For the first byte of a body, after the headers. */
  startMs: 3_000,
  /** For a request to arrive, body included. */
  receiveMs: 10_000,
  /** For the decoding of an image. */
  decodeMs: 10_000,
  /** From then to its answer. */
  workMs: 30_000,
  /** Classifiers of per-request labels that are kept, and their bytes. */
  cacheEntries: 64,
  cacheBytes: 64 * MiB,

  /** After SIGTERM: how long /healthz says 503 before no connection is accepted any more. */
  drainMs: 1000,
  /** And how long running requests may take then. */
  shutdownMs: 15_000,
}

/** The settings with what the environment says. Throws for a number that is none. */
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
