/**
 * Where models lie: Python's places, which are only read, and our own cache folder. Nothing here touches the network
 * or writes.
 */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { ClipError } from '../errors.js'
import type { ModelInfo } from './names.js'
import type { HubSettings } from './options.js'

/** The three folders that are searched, in this order. */
export interface Places {
  /** Where OpenAI's and OpenCLIP's Python packages put OpenAI's files. */
  openai: string
  /** The hub cache of huggingface_hub. */
  huggingface: string
  /** Ours: the only one that is written. */
  own: string
}

/** A model that is here. */
export interface Cached {
  path: string
  place: keyof Places
  /** Of the files that loading reads. */
  bytes: number
}

const home = (env: NodeJS.ProcessEnv, platform: NodeJS.Platform) =>
  (platform === 'win32' ? env.USERPROFILE : env.HOME) || homedir()

/** Both Python packages use ~/.cache on every platform; ours follows the platform. */
export function places(
  { cacheDir, env }: Pick<HubSettings, 'cacheDir' | 'env'>,
  platform = process.platform,
): Places {
  const user = home(env, platform)
  const untilde = (path: string) => (/^~(?=$|[\\/])/.test(path) ? join(user, path.slice(1)) : path)
  const unixCache = untilde(env.XDG_CACHE_HOME || join(user, '.cache'))
  const hfHome = untilde(env.HF_HOME || join(unixCache, 'huggingface'))
  let own = cacheDir ?? env.CLIP_NATIVE_CACHE
  if (!own && platform === 'darwin') own = join(user, 'Library', 'Caches', 'clip-native')
  if (!own && platform === 'win32')
    own = join(env.LOCALAPPDATA || join(user, 'AppData', 'Local'), 'clip-native', 'Cache')
  return {
    openai: join(user, '.cache', 'clip'),
    huggingface: untilde(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hfHome, 'hub')),
    own: resolve(untilde(own || join(unixCache, 'clip-native'))),
  }
}

/** Bytes of a regular file (links are followed), or undefined. */
export async function fileSize(path: string): Promise<number | undefined> {
  try {
    const info = await stat(path)
    return info.isFile() ? info.size : undefined
  } catch {
    return undefined
  }
}

/** SHA-256 of a file in hexadecimal, read in pieces. */
export async function sha256Of(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path)) {
    signal?.throwIfAborted()
    hash.update(piece)
  }
  return hash.digest('hex')
}

/** Text of a small file; what is larger is not what its name says, and is not read. */
export async function readSmall(path: string): Promise<string> {
  const limit = 16 * 2 ** 20
  const bytes = await fileSize(path)
  if (bytes !== undefined && bytes > limit)
    throw new ClipError('ERR_CLIP_CHECKPOINT', `${path} has ${bytes} bytes, expected at most ${limit}`, {
      file: path,
    })
  return readFile(path, 'utf8')
}

export const ownOpenaiFile = (where: Places, info: ModelInfo) => join(where.own, 'openai', info.file!)

/**
 * OpenAI's file in Python's folder or in ours. Python writes in place, so a file of another size is half a download:
 * it counts only if its hash is right all the same.
 */
export async function findOpenai(
  where: Places,
  info: ModelInfo,
  signal?: AbortSignal,
): Promise<Cached | undefined> {
  const candidates = [
    { place: 'openai', path: join(where.openai, info.file!) },
    { place: 'own', path: ownOpenaiFile(where, info) },
  ] as const
  const others: Cached[] = []
  for (const { place, path } of candidates) {
    const bytes = await fileSize(path)
    if (bytes !== undefined && bytes === info.bytes) return { path, place, bytes }
    if (bytes) others.push({ path, place, bytes })
  }
  // Hashing takes a second or two: only when no size is right.
  for (const other of others) {
    const hash = await sha256Of(other.path, signal).catch(() => undefined)
    signal?.throwIfAborted()
    if (hash === info.sha256) return other
  }
  return undefined
}

/** Folder of a hub repository in our cache; it holds refs/ and one folder per commit. */
export const ownRepo = (where: Places, id: string) => join(where.own, 'hub', id.replace('/', '--'))

/** A revision may contain slashes: one file name per revision. */
export const refFile = (repo: string, revision: string) => join(repo, 'refs', encodeURIComponent(revision))

export const isCommit = (text: string) => /^[0-9a-f]{40}$/.test(text)

/**
 * The files of a hub repository that loading reads, out of the names at its top level, or undefined when none of the
 * layouts is there. OpenCLIP's pair comes first: a repository that has it may keep an image-only model beside it under
 * Hugging Face's names. The shards of an index are not in it.
 */
export function chooseFiles(names: ReadonlySet<string>): { weights: string; files: string[] } | undefined {
  const layouts = [
    ['open_clip_config.json', 'open_clip_model.safetensors'],
    ['config.json', 'model.safetensors'],
    ['config.json', 'model.safetensors.index.json'],
    ['open_clip_config.json', 'open_clip_pytorch_model.bin'],
    ['config.json', 'pytorch_model.bin'],
  ]
  const found = layouts.find(layout => layout.every(name => names.has(name)))
  if (!found) return undefined
  const [config, weights] = found
  // The same content twice: one of the two is enough.
  const vocabulary =
    names.has('vocab.json') && names.has('merges.txt') ? ['vocab.json', 'merges.txt'] : ['tokenizer.json']
  const processor = config === 'config.json' ? ['processor_config.json', 'preprocessor_config.json'] : []
  return {
    weights,
    files: [config, ...[...processor, ...vocabulary].filter(name => names.has(name)), weights],
  }
}

/** A name that a server or an index may give a file of ours: one path component, no tricks. */
export const isPlainName = (name: unknown): name is string =>
  typeof name === 'string' && /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/.test(name) && !name.includes('..')

/** The shard files that a model.safetensors.index.json names, each once. Throws ERR_CLIP_CHECKPOINT naming `file`. */
export function shardsOf(index: string, file: string): string[] {
  let names: unknown[]
  try {
    const parsed = JSON.parse(index) as { weight_map?: Record<string, unknown> } | null
    if (typeof parsed?.weight_map !== 'object' || parsed.weight_map === null) throw new Error('no weight_map')
    names = [...new Set(Object.values(parsed.weight_map))]
  } catch (cause) {
    throw new ClipError('ERR_CLIP_CHECKPOINT', `${file}: ${(cause as Error).message}`, {
      file,
      field: 'weight_map',
      cause,
    })
  }
  for (const name of names)
    if (!isPlainName(name) || !name.endsWith('.safetensors'))
      throw new ClipError(
        'ERR_CLIP_CHECKPOINT',
        `${file}: weight_map names ${JSON.stringify(name)?.slice(0, 100)}, expected the plain name of a .safetensors file`,
        { file, field: 'weight_map', expected: 'a plain file name', actual: String(name).slice(0, 100) },
      )
  if (names.length === 0 || names.length > 1000)
    throw new ClipError('ERR_CLIP_CHECKPOINT', `${file}: weight_map names ${names.length} files`, {
      file,
      field: 'weight_map',
    })
  return names as string[]
}

/** Total size of a folder's model when all that loading reads is there; dangling links are not. */
async function completeSize(folder: string): Promise<number | undefined> {
  try {
    const names = new Set(await readdir(folder))
    const chosen = chooseFiles(names)
    if (!chosen) return undefined
    const { weights, files } = chosen
    if (files[0] === 'config.json') {
      // timm keeps a config.json of its own kind, without a model_type, beside image-only weights.
      const config = JSON.parse(await readSmall(join(folder, 'config.json'))) as {
        model_type?: unknown
      }
      if (typeof config?.model_type !== 'string') return undefined
      // Whoever used only a part of it in Python has only a part of it here.
      const hasProcessor = files.some(name => name.endsWith('processor_config.json'))
      if (!hasProcessor || names.has('vocab.json') !== names.has('merges.txt')) return undefined
    }
    if (weights.endsWith('.index.json'))
      files.push(...shardsOf(await readSmall(join(folder, weights)), join(folder, weights)))
    let total = 0
    for (const name of files) {
      const bytes = await fileSize(join(folder, name))
      if (bytes === undefined || bytes === 0) return undefined
      total += bytes
    }
    return total
  } catch {
    return undefined
  }
}

async function snapshot(
  repo: string,
  ref: string,
  revision: string,
  commits: string,
): Promise<{ path: string; bytes: number } | undefined> {
  const commit = isCommit(revision)
    ? revision
    : await readFile(ref, 'utf8').then(
        text => text.trim(),
        () => '',
      )
  if (!isCommit(commit)) return undefined
  const path = join(repo, commits, commit)
  const bytes = await completeSize(path)
  return bytes === undefined ? undefined : { path, bytes }
}

/** Hub ids in our own cache, whole or not. */
export async function ownIds(where: Places): Promise<string[]> {
  const folders = await readdir(join(where.own, 'hub')).catch(() => [])
  return folders.map(folder => folder.replace('--', '/')).sort()
}

/** A hub repository in Python's cache or in ours, at the commit that `revision` last meant there. */
export async function findHub(where: Places, id: string, revision: string): Promise<Cached | undefined> {
  const python = join(where.huggingface, `models--${id.replace('/', '--')}`)
  const theirs = await snapshot(python, join(python, 'refs', ...revision.split('/')), revision, 'snapshots')
  if (theirs) return { ...theirs, place: 'huggingface' }
  const repo = ownRepo(where, id)
  const ours = await snapshot(repo, refFile(repo, revision), revision, 'snapshots')
  return ours && { ...ours, place: 'own' }
}
