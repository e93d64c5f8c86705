import { opendir } from 'node:fs/promises'
import { join } from 'node:path'

/** Paths of the picture files in a folder and the folders in it. */
export async function* pictureFiles(folder) {
  for await (const entry of await opendir(folder, { recursive: true }))
    if (entry.isFile() && /\.(jpe?g|png|webp|gif|tiff?|avif|svg)$/i.test(entry.name))
      yield join(entry.parentPath, entry.name)
}
