/** Creates a file completely or not at all: it is written beside its destination under another name, then renamed. */

import { randomBytes } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'

/**
 * Runs `write` on a temporary file, which becomes `target` on success. On any failure the existing file is not changed, and
 * the temporary file is removed. `check` is called last, just before the rename. Rejects with the error of `write` or
 * `check`, or with the system's.
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
