/** How a file comes to be whole or not at all: written beside its place under a name of its own, then renamed into it. */

import { randomBytes } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'

/**
 * Runs `write` on what becomes `target` when it ends well. When anything fails, what was in place stays as it was, and
 * nothing is left beside it. `check` is made last, when only the name is still to be changed. Rejects with the error of
 * `write` or `check`, or with the system's.
 */
export async function replaceFile<T>(
  target: string,
  write: (handle: FileHandle) => Promise<T>,
  { mode, check }: { mode?: number; check?: () => Promise<void> } = {},
): Promise<T> {
  const beside = `${target}.${randomBytes(6).toString('hex')}.part`
  try {
    const handle = await open(beside, 'wx', mode)
    let result: T
    try {
      result = await write(handle)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await check?.()
    await rename(beside, target)
    return result
  } catch (error) {
    await rm(beside, { force: true }).catch(() => {})
    throw error
  }
}
