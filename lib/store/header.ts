/** store.json: the contents of a store's folder and the model that made it. Creation and compaction write it by a rename. */

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { rowDtypes } from '../base/dtypes.js'
import { ClipError } from '../base/errors.js'
import { RegularFile, statPath } from '../base/regular-file.js'
import { replaceFile } from '../base/replace-file.js'
import { damaged, faultOf } from './errors.js'
import { openToAppend } from './own-file.js'

/** Number format of vectors on disk: 4, 2 or 1 bytes per number. */
export type StoreDtype = 'float32' | 'bfloat16' | 'int8'

export interface StoreHeader {
  /** Fingerprint of the model that made all embeddings. */
  fingerprint: string
  embedDim: number
  /** Number format of the vectors. */
  dtype: StoreDtype
  /** Part of the file names: '' at first, and a new one after each compaction. */
  generation: string
}

const format = 'clip-native/store'
const largest = 65536

/** Names of the files with rows, of any generation. */
export const rowsFile = /^(vectors(-[0-9a-f]+)?\.bin|items(-[0-9a-f]+)?\.log)$/
/** Name of a header that was written but not yet renamed. */
export const headerPart = /^store\.json\.[0-9a-f]+\.part$/
/** Name of a lock file that was written but not yet linked. */
export const lockPart = /^lock\.[0-9a-f-]{36}$/
/** All names that may occur in a store's folder. */
export const isOfStore = (name: string): boolean =>
  rowsFile.test(name) || lockPart.test(name) || /^(lock(\.takeover.*)?|store\.json.*)$/.test(name)

/** The files of a store. */
export const filesOf = (folder: string, generation = '') => ({
  header: join(folder, 'store.json'),
  vectors: join(folder, generation === '' ? 'vectors.bin' : `vectors-${generation}.bin`),
  items: join(folder, generation === '' ? 'items.log' : `items-${generation}.log`),
  lock: join(folder, 'lock'),
})

/** Undefined if there is no header. Rejects with ERR_CLIP_CHECKPOINT if it is damaged or has another version. */
export async function readStoreHeader(
  folder: string,
  signal?: AbortSignal,
): Promise<StoreHeader | undefined> {
  const path = filesOf(folder).header
  const fault = faultOf(path, 'format')
  if (!(await statPath(path, fault, 'refused'))) return undefined
  const file = await RegularFile.open(path, fault, signal, 'refused')
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
  check('dtype', x => rowDtypes.includes(x as StoreDtype), `one of ${rowDtypes.join(', ')}`)
  const isPart = (x: unknown) => x === undefined || (typeof x === 'string' && /^[0-9a-f]{1,32}$/.test(x))
  check('generation', isPart, 'hexadecimal digits')
  return {
    fingerprint: value.fingerprint as string,
    embedDim: value.embedDim as number,
    dtype: value.dtype as StoreDtype,
    generation: (value.generation as string | undefined) ?? '',
  }
}

/** Throws ERR_CLIP_CHECKPOINT if a changed header belongs to another store. */
export function checkSameStore(folder: string, before: StoreHeader, now: StoreHeader): void {
  for (const field of ['fingerprint', 'embedDim', 'dtype'] as const)
    if (now[field] !== before[field])
      throw damaged(filesOf(folder).header, field, `\`${field}\` changed while the store was open`, {
        expected: String(before[field]),
        actual: String(now[field]),
      })
}

/** The header of an open store; throws if it belongs to another store, or if it has been removed. */
export async function headerOfSame(
  folder: string,
  before: StoreHeader,
  signal?: AbortSignal,
): Promise<StoreHeader> {
  const now = await readStoreHeader(folder, signal)
  if (now) {
    checkSameStore(folder, before, now)
    return now
  }
  const { header } = filesOf(folder)
  throw damaged(
    header,
    'format',
    'was removed while the store was open: nothing can be written to it any more',
    {
      expected: 'store.json',
      actual: 'nothing',
    },
  )
}

/** The error for a writer that was stopped, lost its lock, and continues. */
export const takenOver = (file: string): ClipError =>
  new ClipError(
    'ERR_CLIP_INPUT',
    `${file}: another process took the store's lock over while this one was stopped; try again`,
    { file },
  )

/** Makes the names in a folder durable. Not every system can open a folder. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}

/**
 * Replaces the header atomically. `check` checks the lock when the new header is complete but not yet renamed. A process that
 * takes the lock over later removes this header (`revokeHeaders`), so that the rename fails.
 */
export async function writeHeader(
  folder: string,
  header: StoreHeader,
  check: () => Promise<void>,
): Promise<void> {
  const { header: path, vectors, items } = filesOf(folder, header.generation)
  // Before the header is written: a folder with a header counts as a complete store.
  for (const file of [vectors, items]) await (await openToAppend(file, true)).close()
  await syncFolder(folder)
  const { generation, ...rest } = header
  const all = { format, version: 1, ...rest, ...(generation === '' ? {} : { generation }) }
  const text = `${JSON.stringify(all, null, 2)}\n`
  await replaceFile(path, handle => handle.writeFile(text), { check }).catch(error => {
    throw error.code === 'ENOENT' && error.syscall === 'rename' ? takenOver(path) : error
  })
  await syncFolder(folder)
}
