/** Opens or creates a store: reads its header and checks that it fits the model, or makes a new folder with a header. */

import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { argumentError, ClipError } from '../base/errors.js'
import { makeFolder } from '../base/make-folder.js'
import { kindOf, statPath } from '../base/regular-file.js'
import { checkFingerprint } from '../checkpoint/fingerprint.js'
import { type Loaded, needProjection } from '../encode/loaded-model.js'
import { withLock } from '../hub/lock.js'
import { damaged, faultOf, lockOptions, writeError } from './errors.js'
import { revokeHeaders } from './generation.js'
import {
  filesOf,
  isOfStore,
  readStoreHeader,
  rowsFile,
  type StoreDtype,
  type StoreHeader,
  syncFolder,
  writeHeader,
} from './header.js'

/** The header of the store in this folder; with `create`, the store is created if there is none. */
export async function openHeader(
  loaded: Loaded,
  folder: string,
  create: boolean,
  dtype: StoreDtype | undefined,
  signal: AbortSignal | undefined,
): Promise<StoreHeader> {
  if (loaded.spec.embedDim === 0)
    for (const tower of ['image', 'text'] as const) needProjection(loaded, tower)
  let header = await readStoreHeader(folder, signal)
  if (!header && create) header = await createStore(loaded, folder, dtype ?? 'float32', signal)
  const { header: file } = filesOf(folder)
  if (!header)
    throw new ClipError(
      'ERR_CLIP_INPUT',
      `${folder}: is not a store: \`create: true\` creates one (\`clip-native embed --store\` on the command line)`,
      {
        file: folder,
        field: 'create',
        expected: 'a folder with store.json',
      },
    )
  const { fingerprint, embedDim } = header
  checkFingerprint(loaded.checkpoint.fingerprint, file, 'this store', fingerprint)
  if (embedDim !== loaded.spec.embedDim)
    throw damaged(file, 'embedDim', `expected \`embedDim\` to be ${loaded.spec.embedDim}, got ${embedDim}`)
  if (dtype !== undefined && dtype !== header.dtype)
    throw argumentError('dtype', `be '${header.dtype}', the dtype of this store`, dtype)
  return header
}

/** Creates the store and returns its header. If two processes create the same store at once, only one of them does. */
async function createStore(
  loaded: Loaded,
  folder: string,
  dtype: StoreDtype,
  signal: AbortSignal | undefined,
): Promise<StoreHeader> {
  const { fingerprint } = loaded.checkpoint
  const { lock, header } = filesOf(folder)
  try {
    const made = await makeFolder(folder).catch(cause => {
      if (cause.code !== 'ENOENT') throw cause
      throw new ClipError(
        'ERR_CLIP_INPUT',
        `${folder}: no folder can be created there; choose another place`,
        {
          file: folder,
          cause,
        },
      )
    })
    for (const path of made) await syncFolder(dirname(path))
    const other = (await readdir(folder)).find(name => !isOfStore(name))
    if (other !== undefined)
      throw new ClipError(
        'ERR_CLIP_INPUT',
        `${folder}: is a folder that contains other files (${JSON.stringify(other.slice(0, 60))}); create the store in a new or empty folder`,
        { file: folder, expected: 'a new or empty folder', actual: other },
      )
    return await withLock(lock, lockOptions(lock, signal), async held => {
      await revokeHeaders(folder)
      const there = await readStoreHeader(folder, signal)
      if (there) return there
      // Files without a header don't belong to a store, or to one that has lost its header.
      const rows = (await readdir(folder)).filter(name => rowsFile.test(name))
      for (const file of rows.map(name => join(folder, name))) {
        const stats = await statPath(file, faultOf(file, 'rows'), 'refused')
        if (stats && !stats.isFile()) throw damaged(file, 'file', `is ${kindOf(stats)}, not a file`)
        const bytes = stats?.size ?? 0
        if (bytes > 0)
          throw damaged(header, 'format', 'is missing, but the folder has vectors or items', {
            expected: 'store.json',
            actual: `${file} has ${bytes} bytes`,
          })
      }
      const fresh: StoreHeader = { fingerprint, embedDim: loaded.spec.embedDim, dtype, generation: '' }
      await writeHeader(folder, fresh, () => held.check())
      return fresh
    })
  } catch (error) {
    throw writeError(error, folder)
  }
}
