/** The checkpoints of a folder, and the stored outputs that belong to them. */

import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** What the original library computed; rows are base64 of little-endian float32, not normalized. */
export interface Entry {
  sha256: string
  parameters: number
  imageSize: number
  madeBy: string
  planes: string[]
  images: string[]
  ids: string[]
  texts: string[]
}

export interface Stored {
  /** Inputs of every entry: paths from the package's root, texts, token ids from start to end. */
  images: string[]
  texts: string[]
  ids: number[][]
  models: Record<string, Entry>
}

export interface Found {
  /** Base name of the file or folder. */
  name: string
  path: string
  weights: string[]
}

const weightEnds = ['.safetensors', '.bin', '.pt']
const isWeights = (name: string) => weightEnds.some(end => name.endsWith(end))

/** Weight files, and sub-folders with a configuration and weight files (in the order that the generator hashes). */
export function findCheckpoints(folder: string): Found[] {
  const found: Found[] = []
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name)
    if (!statSync(path).isDirectory()) {
      if (isWeights(name)) found.push({ name, path, weights: [path] })
      continue
    }
    const files = readdirSync(path)
    if (!files.includes('config.json') && !files.includes('open_clip_config.json')) continue
    const weights = files.filter(isWeights).sort()
    if (weights.length) found.push({ name, path, weights: weights.map(file => join(path, file)) })
  }
  return found
}

export async function sha256(files: string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const file of files)
    for await (const piece of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(piece)
  return hash.digest('hex')
}

/** The stored outputs in these files, those that exist. Inputs differ between them, so they stay apart. */
export function readStored(files: string[]): { file: string; stored: Stored }[] {
  return files
    .filter(file => existsSync(file))
    .map(file => ({ file, stored: JSON.parse(readFileSync(file, 'utf8')) as Stored }))
}

/** The entry of these weights; failing that, the one of this name. */
export function entryOf(
  all: { file: string; stored: Stored }[],
  name: string,
  sha: string,
): { entry: Entry; stored: Stored; sameFile: boolean } | undefined {
  for (const { stored } of all)
    for (const entry of Object.values(stored.models))
      if (entry.sha256 === sha) return { entry, stored, sameFile: true }
  for (const { stored } of all) {
    const entry = Object.hasOwn(stored.models, name) ? stored.models[name] : undefined
    if (entry) return { entry, stored, sameFile: false }
  }
  return undefined
}
