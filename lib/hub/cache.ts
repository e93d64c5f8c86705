/**
 * Finds models on this machine: in the cache folders of Python libraries and in the package's own cache folder. Nothing here
 * uses the network or writes files.
 */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { CacheFolders } from '../base/cache-folders.js'
import { ClipError } from '../base/errors.js'
import type { ModelInfo } from '../base/known-models.js'
import { chooseVariant } from '../checkpoint/layouts.js'

/** A model on this machine. */
export interface Cached {
  path: string
  place: keyof CacheFolders
  /** Total size of the files that loading reads. */
  bytes: number
}

/** Size in bytes of a regular file (links are followed), or undefined. */
export async function fileSize(path: string): Promise<number | undefined> {
  try {
    const info = await stat(path)
    return info.isFile() ? info.size : undefined
  } catch {
    return undefined
  }
}

/** SHA-256 of a file in hexadecimal; the file is read in pieces. */
export async function sha256Of(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path)) {
    signal?.throwIfAborted()
    hash.update(piece)
  }
  return hash.digest('hex')
}

/** The text of a small file. A larger file can't be what its name says and is not read. */
export async function readSmall(path: string): Promise<string> {
  const limit = 16 * 2 ** 20
  const bytes = await fileSize(path)
  if (bytes === undefined) throw new ClipError('ERR_CLIP_CHECKPOINT', `${path} is not a file`, { file: path })
  if (bytes > limit)
    throw new ClipError('ERR_CLIP_CHECKPOINT', `${path} has ${bytes} bytes, expected at most ${limit}`, {
      file: path,
    })
  return readFile(path, 'utf8')
}

export const ownOpenaiFile = (where: CacheFolders, info: ModelInfo) => join(where.own, 'openai', info.file!)

/**
 * OpenAI's file in Python's folder or in the package's. Python writes in place, so a file of another size is probably an
 * incomplete download: it is used only if its hash is right.
 */
export async function findOpenai(
  where: CacheFolders,
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
  // Hashing takes a second or two, so it is done only if no file has the right size.
  for (const other of others) {
    const hash = await sha256Of(other.path, signal).catch(() => undefined)
    signal?.throwIfAborted()
    if (hash === info.sha256) return other
  }
  return undefined
}

/** Folder of a hub repository in the package's cache; it holds refs/ and one folder per commit. */
export const ownRepo = (where: CacheFolders, id: string) => join(where.own, 'hub', id.replace('/', '--'))

/** The file name of a revision, which may contain slashes. */
export const refFile = (repo: string, revision: string) => join(repo, 'refs', encodeURIComponent(revision))

export const isCommit = (text: string) => /^[0-9a-f]{40}$/.test(text)

/** The folder in which sentence-transformers keeps a CLIP model inside a repository. */
const innerFolder = /^\d{1,2}_CLIPModel$/

/** Whether loading may read a path of a repository: one at its top level, or in such a folder. */
export function mayBeRead(path: string): boolean {
  const parts = path.split('/')
  return parts.length === 1
    ? isPlainName(path)
    : parts.length === 2 && innerFolder.test(parts[0]!) && isPlainName(parts[1])
}

export interface Chosen {
  weights: string
  /** The configuration first, the weights last. */
  files: string[]
  /** The common prefix of these names. */
  folder: string
}

/**
 * Selects the files of a hub repository that loading reads from the names that `mayBeRead`; undefined if no layout matches.
 * OpenCLIP's pair of files comes first, because a repository with it may also have an image-only model under Hugging Face's
 * names. The shards of an index are not included.
 */
export function chooseFiles(names: ReadonlySet<string>): Chosen | undefined {
  const layouts = [
    ['open_clip_config.json', 'open_clip_model.safetensors'],
    ['config.json', 'model.safetensors'],
    ['config.json', 'model.safetensors.index.json'],
    ['open_clip_config.json', 'open_clip_pytorch_model.bin'],
    ['config.json', 'pytorch_model.bin'],
    ['config.json', 'pytorch_model.bin.index.json'],
  ]
  const variant = names.has('config.json') ? chooseVariant('the repository', [...names].sort()) : undefined
  if (variant) layouts.push(['config.json', variant])
  const found = layouts.find(layout => layout.every(name => names.has(name)))
  if (!found) return chooseInside(names)
  const [config, weights] = found as [string, string]
  // Both have the same content: one of them is enough.
  const vocabulary =
    names.has('vocab.json') && names.has('merges.txt')
      ? ['vocab.json', 'merges.txt', 'added_tokens.json', 'tokenizer_config.json']
      : [
          ...['tokenizer.json', 'tokenizer_config.json', 'spiece.model', 'sentencepiece.bpe.model'],
          ...['tokenizer.model', 'vocab.txt'],
        ]
  const processor = config === 'config.json' ? ['processor_config.json', 'preprocessor_config.json'] : []
  return {
    weights,
    files: [config, ...[...processor, ...vocabulary].filter(name => names.has(name)), weights],
    folder: '',
  }
}

function chooseInside(names: ReadonlySet<string>): Chosen | undefined {
  const path = [...names].find(name => name.includes('/'))
  if (path === undefined) return undefined
  const folder = path.slice(0, path.indexOf('/') + 1)
  const inside = new Set([...names].filter(n => n.startsWith(folder)).map(n => n.slice(folder.length)))
  const chosen = chooseFiles(inside)
  return (
    chosen && { weights: folder + chosen.weights, files: chosen.files.map(name => folder + name), folder }
  )
}

/** Whether a file name is that of an index of several weight files. */
export const isIndex = (name: string): boolean => /\.index(\.[\w-]+)?\.json$/.test(name)

/** Whether a name from a server or an index is safe as a file name: a single path component. */
export const isPlainName = (name: unknown): name is string =>
  typeof name === 'string' && /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/.test(name) && !name.includes('..')

/** The shard files that an index (model.safetensors.index.json and its like) names, each once. Throws ERR_CLIP_CHECKPOINT naming `file`. */
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
    if (!isPlainName(name) || !/\.(safetensors|bin)$/.test(name))
      throw new ClipError(
        'ERR_CLIP_CHECKPOINT',
        `${file}: weight_map names ${JSON.stringify(name)?.slice(0, 100)}, expected the plain name of a .safetensors or .bin file`,
        { file, field: 'weight_map', expected: 'a plain file name', actual: String(name).slice(0, 100) },
      )
  if (names.length === 0 || names.length > 1000)
    throw new ClipError('ERR_CLIP_CHECKPOINT', `${file}: weight_map names ${names.length} files`, {
      file,
      field: 'weight_map',
    })
  return names as string[]
}

/** Names at the top level of a folder, and in sentence-transformers' folder inside it. */
async function namesIn(folder: string): Promise<Set<string>> {
  const names = await readdir(folder)
  const inner = names.find(name => innerFolder.test(name))
  const inside = inner === undefined ? [] : await readdir(join(folder, inner))
  return new Set([...names, ...inside.map(name => `${inner}/${name}`)])
}

/**
 * Total size of a folder's model if all files that loading reads are there (dangling links don't count). `shared`: other
 * programs add files to the folder as they need them, so the model may be incomplete.
 */
async function completeSize(folder: string, shared: boolean): Promise<number | undefined> {
  try {
    const names = await namesIn(folder)
    const chosen = chooseFiles(names)
    if (!chosen) return undefined
    const { weights, files, folder: inner } = chosen
    if (files[0] === `${inner}config.json`) {
      // timm has a different config.json, without a model_type, beside image-only weights.
      const config = JSON.parse(await readSmall(join(folder, files[0]))) as { model_type?: unknown }
      if (typeof config?.model_type !== 'string') return undefined
      // A model of which only a part was used in Python is incomplete here.
      const hasProcessor = files.some(name => name.endsWith('processor_config.json'))
      const needsProcessor = config.model_type !== 'clip_text_model'
      if (shared && needsProcessor && !hasProcessor) return undefined
      if (names.has(`${inner}vocab.json`) !== names.has(`${inner}merges.txt`)) return undefined
    }
    if (isIndex(weights)) {
      const shards = shardsOf(await readSmall(join(folder, weights)), join(folder, weights))
      files.push(...shards.map(name => inner + name))
    }
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
  shared: boolean,
): Promise<{ path: string; bytes: number } | undefined> {
  const commit = isCommit(revision)
    ? revision
    : await readSmall(ref).then(
        text => text.trim(),
        () => '',
      )
  if (!isCommit(commit)) return undefined
  const path = join(repo, commits, commit)
  const bytes = await completeSize(path, shared)
  return bytes === undefined ? undefined : { path, bytes }
}

/** Hub ids in the package's cache, complete or not. */
export async function ownIds(where: CacheFolders): Promise<string[]> {
  const folders = await readdir(join(where.own, 'hub')).catch(() => [])
  return folders.map(folder => folder.replace('--', '/')).sort()
}

/** A hub repository in Python's cache or the package's, at the commit that `revision` last resolved to there. */
export async function findHub(
  where: CacheFolders,
  id: string,
  revision: string,
): Promise<Cached | undefined> {
  const python = join(where.huggingface, `models--${id.replace('/', '--')}`)
  const theirs = await snapshot(
    python,
    join(python, 'refs', ...revision.split('/')),
    revision,
    'snapshots',
    true,
  )
  if (theirs) return { ...theirs, place: 'huggingface' }
  const repo = ownRepo(where, id)
  const ours = await snapshot(repo, refFile(repo, revision), revision, 'snapshots', false)
  return ours && { ...ours, place: 'own' }
}
