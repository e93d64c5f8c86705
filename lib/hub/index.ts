/** From a name to a path: looks where Python put the model, then in our cache, then downloads it, once. */

import { stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { argumentError, ClipError } from '../errors.js'
import { type Cached, fileSize, findHub, findOpenai, ownOpenaiFile, ownRepo, places } from './cache.js'
import { downloadFile } from './download.js'
import { type Http, openHttp } from './http.js'
import { type Lock, withLock } from './lock.js'
import {
  availableModels,
  type ModelInfo,
  modelInfo,
  OPENAI_ENDPOINT,
  parseHubId,
  unknownName,
} from './names.js'
import { type HubOptions, type HubSettings, settings } from './options.js'
import { Reporter } from './progress.js'
import { downloadRepo } from './repo.js'

export type { Cached, Places } from './cache.js'
export { places } from './cache.js'
export { availableModels, knownModels, type ModelFamily, type ModelInfo, modelInfo } from './names.js'
export type { DownloadProgress, HubOptions } from './options.js'

const looksLikePath = (text: string) =>
  /^(\.{0,2}[\\/]|~|[A-Za-z]:[\\/]|\.{1,2}$)|\\|\.(pt|pth|bin|safetensors|json)$/i.test(text)

/**
 * A path that `readCheckpoint` opens. `source` is one of OpenAI's names, the path of something that exists, or a hub
 * id (`owner/name`, `owner/name@revision`), looked at in this order. A model that is nowhere on this machine is
 * downloaded; processes that want the same one share one download.
 *
 * Rejects with ClipError: ERR_CLIP_CONFIG (no such name; names near ones), ERR_CLIP_CHECKPOINT (no such path),
 * ERR_CLIP_OFFLINE, ERR_CLIP_DOWNLOAD, ERR_CLIP_CHECKSUM; with TypeError or RangeError for impossible options; with
 * `signal.reason`.
 */
export async function resolveSource(source: string, options: HubOptions = {}): Promise<string> {
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
  return (await find(info, chosen)) ?? (await download(info, source, chosen))
}

/** Where a named model lies on this machine, without any network; undefined when it is not here. */
export async function findCached(name: string, options: HubOptions = {}): Promise<Cached | undefined> {
  const chosen = settings(options)
  const info = modelInfo(name)
  return look(info, chosen)
}

function look(info: ModelInfo, chosen: HubSettings): Promise<Cached | undefined> {
  const where = places(chosen)
  return info.family === 'openai'
    ? findOpenai(where, info, chosen.signal)
    : findHub(where, info.name, info.revision ?? 'main')
}

const find = async (info: ModelInfo, chosen: HubSettings) => (await look(info, chosen))?.path

async function download(info: ModelInfo, source: string, chosen: HubSettings): Promise<string> {
  const where = places(chosen)
  const isOpenai = info.family === 'openai'
  const endpoint = chosen.openaiEndpoint ?? OPENAI_ENDPOINT
  const url = isOpenai ? `${endpoint}/${info.sha256}/${info.file}` : `${chosen.endpoint}/${info.name}`
  if (chosen.offline)
    throw new ClipError(
      'ERR_CLIP_OFFLINE',
      `${source} is not on this machine, and the network is switched off (offline: true or HF_HUB_OFFLINE). Looked in ${isOpenai ? `${where.openai}, ` : `${where.huggingface}, `}${where.own}; it would come from ${url}`,
      { file: source },
    )
  const reporter = new Reporter(info.name, chosen.onProgress)
  const target = isOpenai ? ownOpenaiFile(where, info) : join(ownRepo(where, info.name), 'model')
  const what = isOpenai ? info.file! : basename(info.name)
  const onWait = async () => {
    reporter.start(what, info.bytes)
    reporter.report('waiting', (isOpenai ? await fileSize(`${target}.part`) : undefined) ?? 0)
  }
  return withLock(`${target}.lock`, { signal: chosen.signal, onWait }, async lock => {
    // Whoever held the lock before us may have brought it.
    const here = await find(info, chosen)
    if (here !== undefined) return here
    const http = await openHttp(chosen)
    try {
      return isOpenai
        ? await downloadOpenai(http, info, url, target, chosen, reporter, lock)
        : await downloadRepo(http, where, info.name, info.revision ?? 'main', chosen, reporter, () =>
            lock.check(),
          )
    } finally {
      await http.close()
    }
  })
}

async function downloadOpenai(
  http: Http,
  info: ModelInfo,
  url: string,
  target: string,
  chosen: HubSettings,
  reporter: Reporter,
  lock: Lock,
): Promise<string> {
  reporter.start(info.file!, info.bytes)
  if (info.bytes !== undefined) reporter.expect(info.bytes)
  // The hash alone decides: it fixes the length as well.
  await downloadFile(http, { url, sha256: info.sha256 }, target, chosen, {
    report: reporter.report,
    check: () => lock.check(),
  })
  reporter.end((await fileSize(target)) ?? 0)
  return target
}
