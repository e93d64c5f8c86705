/** Downloads one model into the cache under a lock, so that several processes share one download. */

import { basename, join } from 'node:path'
import { cacheFolders } from '../base/cache-folders.js'
import { ClipError } from '../base/errors.js'
import { type ModelInfo, OPENAI_ENDPOINT } from '../base/known-models.js'
import { fileSize, ownOpenaiFile, ownRepo } from './cache.js'
import { downloadFile } from './download.js'
import { type Http, openHttp } from './http.js'
import { type Lock, withLock } from './lock.js'
import type { HubSettings } from './options.js'
import { Reporter } from './progress.js'
import { downloadRepo } from './repo.js'

/** `find` looks for the model on this machine again. */
export async function downloadModel(
  info: ModelInfo,
  source: string,
  chosen: HubSettings,
  find: () => Promise<string | undefined>,
): Promise<string> {
  const where = cacheFolders(chosen)
  const isOpenai = info.family === 'openai'
  const endpoint = chosen.openaiEndpoint ?? OPENAI_ENDPOINT
  const url = isOpenai ? `${endpoint}/${info.sha256}/${info.file}` : `${chosen.endpoint}/${info.name}`
  if (chosen.offline)
    throw new ClipError(
      'ERR_CLIP_OFFLINE',
      `${source} is not on this machine, and the network is disabled (offline: true or HF_HUB_OFFLINE). Looked in ${isOpenai ? `${where.openai}, ` : `${where.huggingface}, `}${where.own}; it would come from ${url}`,
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
    // The previous holder of the lock may have downloaded it.
    const here = await find()
    if (here !== undefined) return here
    const http = openHttp(chosen)
    try {
      return isOpenai
        ? await downloadOpenai(http, info, url, target, chosen, reporter, lock)
        : await downloadRepo(http, where, info.name, info.revision ?? 'main', chosen, reporter, () =>
            lock.check(),
          )
    } finally {
      http.close()
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
  // Only the hash is checked: it determines the length too.
  await downloadFile(http, { url, sha256: info.sha256 }, target, chosen, {
    report: reporter.report,
    check: () => lock.check(),
  })
  reporter.end((await fileSize(target)) ?? 0)
  return target
}
