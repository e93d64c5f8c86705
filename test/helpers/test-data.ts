/**
 * The labelled images of test/data. In the repository they are a few WebDataset archives, which openDataset reads as they
 * are; tests that want files of their own names get a folder of them, unpacked once into build/ (and again where an
 * archive has changed). `node dist/test/helpers/test-data.js` prints that folder.
 */

import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { extract } from 'tar'
import { packageRoot } from '../../lib/base/package.js'

const source = join(packageRoot, 'test/data')

/** The folder of images and .csv files as test/data would be without archives. */
function unpacked(): string {
  const names = readdirSync(source).sort()
  const archives = names.filter(name => name.endsWith('.tar'))
  const hash = createHash('sha256')
  for (const name of names) hash.update(name).update(readFileSync(join(source, name)))
  const all = join(packageRoot, 'build/test-data')
  const folder = join(all, hash.digest('hex').slice(0, 16))
  if (existsSync(folder)) return folder
  mkdirSync(all, { recursive: true })
  const own = mkdtempSync(join(all, 'unpacking-'))
  try {
    for (const name of archives)
      extract({
        file: join(source, name),
        cwd: own,
        sync: true,
        strict: true,
        filter: path => !path.endsWith('.cls'),
      })
    for (const name of names) if (!archives.includes(name)) copyFileSync(join(source, name), join(own, name))
    renameSync(own, folder)
  } catch (error) {
    if (!existsSync(folder)) throw error // else another process was first
  } finally {
    rmSync(own, { recursive: true, force: true })
  }
  return folder
}

/** Where the images are files. */
export const testData = unpacked()

/** The file that the repository's path names: 'test/data/digits/one/000.png', 'models/icon-clip/config.json'. */
export const repositoryFile = (path: string): string =>
  path.startsWith('test/data/') ? join(testData, path.slice('test/data/'.length)) : join(packageRoot, path)

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(testData)
