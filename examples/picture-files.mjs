import { opendir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** The pictures that come with the embedded model. */
export const exampleFolder = join(root, 'models', 'icon-clip', 'examples')
/** Handwritten digits; in the repository, not in the package. */
export const exampleDataset = join(root, 'test', 'data', 'digits.csv')

/** Paths of the picture files in a folder and the folders in it. */
export async function* pictureFiles(folder) {
  for await (const entry of await opendir(folder, { recursive: true }))
    if (entry.isFile() && /\.(jpe?g|png|webp|gif|tiff?|avif|svg)$/i.test(entry.name))
      yield join(entry.parentPath, entry.name)
}

/** Some of the pictures that come with the embedded model. */
export const examplePictures = () =>
  ['dog.png', 'anchor.png', 'pizza.png', 'bicycle.jpg'].map(name => join(exampleFolder, name))
