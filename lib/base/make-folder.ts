/** Folders with their parents. */

import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

const isFolder = (path: string) =>
  stat(path).then(
    stats => stats.isDirectory(),
    () => false,
  )

/**
 * Makes a folder and the parents that it lacks, and returns those that were made, the outermost first. Node's own
 * `mkdir` with `recursive` never returns where the system answers "no such file" for every new name, as it does below
 * /proc; this one rejects with that error.
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
      // A parent that is there now was perhaps made by somebody else after the attempt, so it is worth a second one.
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
