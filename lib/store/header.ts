/** store.json: what a folder of ours holds, and which model made it. Written by rename: at first, and by compaction. */

import { randomBytes } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { RegularFile, statPath } from '../regular-file.js'
import { damaged, faultOf } from './errors.js'

/** How a number of a vector is kept on disk: 4, 2 or 1 bytes. */
export type StoreDtype = 'float32' | 'bfloat16' | 'int8'

export interface Header {
  /** The model that embedded everything in it. */
  fingerprint: string
  embedDim: number
  /** How a number of a vector is kept. */
  dtype: StoreDtype
  /** Part of the names of its files: '' at first, another one after each compaction. */
  generation: string
}

const format = 'clip-native/store'
const largest = 65536
export const dtypes: readonly StoreDtype[] = ['float32', 'bfloat16', 'int8']

/** Names of files with rows, of any generation. */
export const rowsFile = /^(vectors(-[0-9a-f]+)?\.bin|items(-[0-9a-f]+)?\.log)$/

/** The files of a store. */
export const filesOf = (folder: string, generation = '') => ({
  header: join(folder, 'store.json'),
  vectors: join(folder, generation === '' ? 'vectors.bin' : `vectors-${generation}.bin`),
  items: join(folder, generation === '' ? 'items.log' : `items-${generation}.log`),
  lock: join(folder, 'lock'),
})

/** Undefined when there is none. Rejects with ERR_CLIP_CHECKPOINT for one that is damaged or of another version. */
export async function readHeader(folder: string, signal?: AbortSignal): Promise<Header | undefined> {
  const path = filesOf(folder).header
  const fault = faultOf(path, 'format')
  if (!(await statPath(path, fault))) return undefined
  const file = await RegularFile.open(path, fault, signal)
  let text: string
  try {
    if (file.bytes > largest) throw fault(`has ${file.bytes} bytes, more than a header has`, {})
    text = await file.text(0, file.bytes, 'the header')
  } finally {
    await file.close()
  }
  let value: Record<string, unknown>
  try {
    value = JSON.parse(text) ?? {}
  } catch (cause) {
    throw damaged(path, 'format', 'is not JSON', { cause })
  }
  const check = (field: string, holds: (x: unknown) => boolean, expected: string) => {
    const actual = JSON.stringify(value[field])?.slice(0, 80) ?? 'nothing'
    if (!holds(value[field]))
      throw damaged(path, field, `expected \`${field}\` to be ${expected}, got ${actual}`, {
        expected,
        actual,
      })
  }
  check('format', x => x === format, `"${format}"`)
  check('version', x => x === 1, '1')
  check('fingerprint', x => typeof x === 'string' && x !== '' && x.length <= 256, 'the name of a model')
  const whole = (x: unknown) => Number.isInteger(x) && (x as number) >= 1 && (x as number) <= 65536
  check('embedDim', whole, 'an integer from 1 to 65536')
  check('dtype', x => dtypes.includes(x as StoreDtype), `one of ${dtypes.join(', ')}`)
  const isPart = (x: unknown) => x === undefined || (typeof x === 'string' && /^[0-9a-f]{1,32}$/.test(x))
  check('generation', isPart, 'hexadecimal digits')
  return {
    fingerprint: value.fingerprint as string,
    embedDim: value.embedDim as number,
    dtype: value.dtype as StoreDtype,
    generation: (value.generation as string | undefined) ?? '',
  }
}

/** Throws ERR_CLIP_CHECKPOINT when a header that was changed is another store's. */
export function checkSameStore(folder: string, before: Header, now: Header): void {
  for (const field of ['fingerprint', 'embedDim', 'dtype'] as const)
    if (now[field] !== before[field])
      throw damaged(filesOf(folder).header, field, `\`${field}\` changed while the store was open`, {
        expected: String(before[field]),
        actual: String(now[field]),
      })
}

/** Makes the names in a folder last. Not every system lets a folder be opened. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}

export async function writeHeader(folder: string, header: Header): Promise<void> {
  const { header: path, vectors, items } = filesOf(folder, header.generation)
  const beside = `${path}.${randomBytes(6).toString('hex')}.part`
  try {
    // Before the header: where there is a header, there is a store.
    for (const file of [vectors, items]) await (await open(file, 'a')).close()
    const handle = await open(beside, 'wx')
    try {
      const { generation, ...rest } = header
      const all = { format, version: 1, ...rest, ...(generation === '' ? {} : { generation }) }
      await handle.writeFile(`${JSON.stringify(all, null, 2)}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(beside, path)
    await syncFolder(folder)
    await syncFolder(dirname(folder))
  } catch (error) {
    await rm(beside, { force: true }).catch(() => {})
    throw error
  }
}
