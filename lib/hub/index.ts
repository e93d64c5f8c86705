/** Resolves a name to a path: looks in Python's caches, then in the package's cache, then downloads the model. */

import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { cacheFolders } from '../base/cache-folders.js'
import { argumentError, ClipError } from '../base/errors.js'
import {
  availableModels,
  exportError,
  type ModelInfo,
  modelInfo,
  parseHubId,
  unknownName,
} from '../base/known-models.js'
import { type Cached, findHub, findOpenai } from './cache.js'
import { type HubOptions, type HubSettings, settings } from './options.js'

export type { Cached } from './cache.js'
export type { DownloadProgress, HubOptions } from './options.js'

const looksLikePath = (text: string) =>
  /^(\.{0,2}[\\/]|~|[A-Za-z]:[\\/]|\.{1,2}$)|\\|\.(pt|pth|bin|safetensors|json)$/i.test(text)

/**
 * Returns a path for `readCheckpoint`. `source` is one of OpenAI's names, an existing path, or a hub id (`owner/name`,
 * `owner/name@revision`), tried in this order. A model that is not on this machine is downloaded; several processes share
 * one download.
 *
 * Rejects with ClipError: ERR_CLIP_CONFIG (unknown name, with suggestions), ERR_CLIP_CHECKPOINT (no such path),
 * ERR_CLIP_OFFLINE, ERR_CLIP_DOWNLOAD, ERR_CLIP_CHECKSUM; with TypeError or RangeError for impossible options; with
 * `signal.reason`.
 */
export async function resolveName(source: string, options: HubOptions = {}): Promise<string> {
  if (typeof source !== 'string' || source === '' || source.includes('\0'))
    throw argumentError('source', "be a model's name, a hub id or a path", source)
  const chosen = settings(options)
  chosen.signal?.throwIfAborted()
  if (!availableModels().includes(source)) {
    const path = resolve(source)
    if ((await stat(path).catch(() => undefined)) !== undefined) return path
    if (looksLikePath(source))
      throw new ClipError('ERR_CLIP_CHECKPOINT', `${source}: there is no such file or folder (${path})`, {
        file: source,
      })
    if (parseHubId(source) === undefined) throw unknownName(source)
  }
  const info = modelInfo(source)
  const here = await find(info, chosen)
  if (here !== undefined) return here
  const isExport = exportError(info.name)
  if (isExport) throw isExport
  // Loaded only here, because the network code takes longer to load than all other code here.
  const { downloadModel } = require('./download-model.js') as typeof import('./download-model.js')
  return downloadModel(info, source, chosen, () => find(info, chosen))
}

/** Finds a named model on this machine, without using the network; undefined if it is not there. */
export async function findCached(name: string, options: HubOptions = {}): Promise<Cached | undefined> {
  const chosen = settings(options)
  const info = modelInfo(name)
  return look(info, chosen)
}

function look(info: ModelInfo, chosen: HubSettings): Promise<Cached | undefined> {
  const where = cacheFolders(chosen)
  return info.family === 'openai'
    ? findOpenai(where, info, chosen.signal)
    : findHub(where, info.name, info.revision ?? 'main')
}

const find = async (info: ModelInfo, chosen: HubSettings) => (await look(info, chosen))?.path
