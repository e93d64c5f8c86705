/** Downloads a hub repository: lists its files at one commit, downloads those that loading reads, then records the commit. */

import { dirname, join } from 'node:path'
import type { CacheFolders } from '../base/cache-folders.js'
import { ClipError } from '../base/errors.js'
import { originalOf } from '../base/known-models.js'
import { makeFolder } from '../base/make-folder.js'
import { replaceFile } from '../base/replace-file.js'
import {
  chooseFiles,
  fileSize,
  isCommit,
  isIndex,
  mayBeRead,
  ownRepo,
  readSmall,
  refFile,
  shardsOf,
} from './cache.js'
import { downloadFile, type RemoteFile } from './download.js'
import { fileError } from './file-error.js'
import { bareUrl, getJson, type Http } from './http.js'
import type { HubSettings } from './options.js'
import type { Reporter } from './progress.js'

interface Listing {
  commit: string
  /** Whether any file is an export for ONNX. */
  hasOnnx: boolean
  files: Map<string, Omit<RemoteFile, 'url'>>
}

const size = (value: unknown) =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
const hex = (value: unknown, digits: number) =>
  typeof value === 'string' && value.length === digits && /^[0-9a-f]+$/.test(value) ? value : undefined

/** A path inside a repository. A listing with anything else is refused, because the server can't be trusted. */
const isInside = (path: string) =>
  path.length > 0 &&
  path.length <= 1000 &&
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these characters are refused
  !/[\\\u0000-\u001f\u007f]|^[A-Za-z]:/.test(path) &&
  path.split('/').every(part => part !== '' && part !== '.' && part !== '..')

/** Checks the hub's response to /api/models/{id}/revision/{revision}?blobs=true. */
export function readListing(answer: unknown, url: string): Listing {
  const bad = (field: string, text: string, actual?: string) =>
    new ClipError('ERR_CLIP_DOWNLOAD', `${bareUrl(url)}: ${text}`, { file: bareUrl(url), field, actual })
  const { sha, siblings } = (answer ?? {}) as { sha?: unknown; siblings?: unknown }
  if (typeof sha !== 'string' || !isCommit(sha))
    throw bad('sha', 'the answer has no commit: is this endpoint a hub?', String(sha).slice(0, 80))
  if (!Array.isArray(siblings))
    throw bad('siblings', 'the answer has no list of files: is this endpoint a hub?')
  const files: Listing['files'] = new Map()
  let hasOnnx = false
  for (const [i, sibling] of siblings.entries()) {
    const { rfilename, size: bytes, blobId, lfs } = (sibling ?? {}) as Record<string, unknown>
    if (typeof rfilename !== 'string' || !isInside(rfilename)) {
      const shown = JSON.stringify(rfilename)?.slice(0, 100) ?? 'nothing'
      throw bad(`siblings[${i}].rfilename`, `the server names a file ${shown}, which is refused`, shown)
    }
    if (/(^|\/)onnx\/|\.onnx$/.test(rfilename)) hasOnnx = true
    if (!mayBeRead(rfilename)) continue // files in other folders and hidden files are not needed

    const large = (lfs ?? undefined) as Record<string, unknown> | undefined
    const sha256 = hex(large?.sha256 ?? large?.oid, 64)
    files.set(rfilename, {
      bytes: size(large?.size) ?? size(bytes),
      sha256,
      // For a large file, git stores only a pointer.
      gitSha1: large === undefined ? hex(blobId, 40) : undefined,
      authorized: true,
    })
  }
  return { commit: sha, files, hasOnnx }
}

const originalText = (id: string): string => {
  const original = originalOf(id)
  return original
    ? `load(${JSON.stringify(original)})`
    : "use the original's hub id, which the model card names"
}

async function writeRef(file: string, commit: string): Promise<void> {
  try {
    await makeFolder(dirname(file))
    await replaceFile(file, handle => handle.writeFile(commit))
  } catch (error) {
    throw fileError(error, file)
  }
}

/** Downloads the repository into the cache and returns the folder. The caller must hold its lock. */
export async function downloadRepo(
  http: Http,
  where: CacheFolders,
  id: string,
  revision: string,
  settings: HubSettings,
  reporter: Reporter,
  check: () => Promise<void>,
): Promise<string> {
  const api = `${settings.endpoint}/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`
  const { commit, files, hasOnnx } = readListing(await getJson(http, api, settings), api)
  const chosen = chooseFiles(new Set(files.keys()))
  if (!chosen)
    throw new ClipError(
      'ERR_CLIP_DOWNLOAD',
      `${id}@${revision} has no CLIP weights that clip-native opens: expected config.json with model.safetensors (or its index, or pytorch_model.bin), or open_clip_config.json with open_clip_model.safetensors (or open_clip_pytorch_model.bin); it has ${[...files.keys()].slice(0, 20).join(', ') || 'no files'}${hasOnnx ? `. Its ONNX files are an export of another model, whose original weights are needed: ${originalText(id)}` : ''}`,
      { file: id, expected: 'config.json and model.safetensors' },
    )
  const repo = ownRepo(where, id)
  const folder = join(repo, 'snapshots', commit)
  const fetchOne = async (name: string) => {
    const target = join(folder, name)
    const known = files.get(name)!
    const here = await fileSize(target)
    // A file at its destination has been verified before.
    if (here !== undefined && (known.bytes === undefined || known.bytes === here)) {
      reporter.start(name, here)
      reporter.end(here)
      return
    }
    reporter.start(name, known.bytes)
    const url = `${settings.endpoint}/${id}/resolve/${commit}/${name}`
    await downloadFile(http, { ...known, url }, target, settings, { report: reporter.report, check })
    reporter.end((await fileSize(target)) ?? 0)
  }
  const { weights } = chosen
  const isSharded = isIndex(weights)
  const sizes = (names: string[]) =>
    names.reduce((sum, name) => sum + (files.get(name)?.bytes ?? Number.NaN), 0)
  if (!isSharded) reporter.expect(sizes(chosen.files))
  for (const name of chosen.files) await fetchOne(name)
  if (isSharded) {
    const index = join(folder, weights)
    const shards = shardsOf(await readSmall(index), index).map(name => chosen.folder + name)
    for (const shard of shards)
      if (!files.has(shard))
        throw new ClipError(
          'ERR_CLIP_DOWNLOAD',
          `${id}@${revision}: ${weights} names ${shard}, which is not there`,
          {
            file: index,
            field: 'weight_map',
            actual: shard,
          },
        )
    reporter.expect(sizes([...chosen.files, ...shards]))
    for (const shard of shards) await fetchOne(shard)
  }
  await check()
  if (!isCommit(revision)) await writeRef(refFile(repo, revision), commit)
  return folder
}
