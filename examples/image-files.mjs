import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** The images that come with the embedded model. */
export const exampleFolder = join(root, 'models', 'icon-clip', 'examples')
/** Handwritten digits, as a WebDataset archive; in the repository, not in the package. */
export const exampleDataset = join(root, 'test', 'data', 'digits.tar')

/** Some of the images that come with the embedded model. */
export const exampleImages = () =>
  ['dog.png', 'anchor.png', 'pizza.png', 'bicycle.jpg'].map(name => join(exampleFolder, name))
