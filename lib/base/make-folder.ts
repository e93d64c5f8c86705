/** Creates folders together with their parents. */

import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

const isFolder = (path: string) =>
  stat(path).then(
    stats => stats.isDirectory(),
    () => false,
  )

/**
 * Creates a folder and its missing parents, and returns the folders that it created, the outermost first. Node's own `mkdir`
 * with `recursive` never returns if the system answers "no such file" for every new name, as it does below /proc; this
 * function rejects with that error.
 */
export async function makeFolder(folder: string, mode?: number): Promise<string[]> {
  const made: string[] = []
  const make = async (path: string): Promise<void> => {
    try {
      await mkdir(path, { mode })
    } catch (error) {
      if (await isFolder(path)) return
      const parent = dirname(path)
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) throw error
      // If the parent exists now, another process may have created it after the attempt, so a second attempt may succeed.
      if (!(await isFolder(parent))) await make(parent)
      try {
        await mkdir(path, { mode })
      } catch (again) {
        if (await isFolder(path)) return
        throw again
      }
    }
    made.push(path)
  }
  await make(folder)
  return made
}
