/**
 * Opens the files of a store's folder for writing. The target of a link is outside the store and may be anything, so
 * symbolic links are not followed, and a file with further hard links is refused.
 */

import { constants } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { kindOf } from '../base/regular-file.js'
import { damaged } from './errors.js'

const notAFile = (path: string, actual: string) =>
  damaged(path, 'file', `is ${actual}, not a file; nothing is written to it`, { expected: 'a file', actual })

/** Opens the file for appending and for reading by position. `create`: creates it if it does not exist. */
export async function openToAppend(path: string, create = false): Promise<FileHandle> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  if (found && !found.isFile()) throw notAFile(path, kindOf(found))
  const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
  const flags = O_RDWR | O_APPEND | (create ? O_CREAT : 0) | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0)
  const handle = await open(path, flags).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' && !create)
      throw damaged(path, 'file', 'was removed while the store was open')
    throw error.code === 'ELOOP' ? notAFile(path, 'a symbolic link') : error
  })
  try {
    const stats = await handle.stat()
    if (!stats.isFile()) throw notAFile(path, kindOf(stats))
    if (stats.nlink > 1)
      throw damaged(
        path,
        'file',
        `has ${stats.nlink} names (hard links): adding would change the others too; copy the store and use the copy`,
        { expected: 'one name', actual: `${stats.nlink} names` },
      )
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Whether the path still leads to the open file. */
export async function isStillThere(path: string, handle: FileHandle): Promise<boolean> {
  const [open, found] = await Promise.all([handle.stat(), lstat(path).catch(() => undefined)])
  return found?.isFile() === true && found.ino === open.ino && found.dev === open.dev
}
