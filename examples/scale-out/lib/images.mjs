/** Lists the images of a folder or of WebDataset tars, always in the same order. */
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { dirname, extname, join, relative, resolve, sep } from 'node:path'
import { imageFiles, isImageName } from 'clip-native'
import { extract } from 'tar-stream'

const mostBytes = 256 * 2 ** 20
/** Paths relative to `root`, with /, sorted by character code. Links out of the folder are not followed. */
export async function* imagesOfFolder(root) {
  const onLeftOut = ({ path, reason, message }) => {
    if (reason !== 'name') console.warn(`left out: ${JSON.stringify(path)} ${message}`)
  }
  for await (const path of imageFiles(root, { onLeftOut })) {
    // A name that is not UTF-8 is yielded as a file: URL, which another machine may not be able to use.
    if (/^file:/.test(path)) onLeftOut({ path, message: 'has a name that is not UTF-8' })
    else yield relative(root, path).split(sep).join('/')
  }
}

/** The sources on the command line: one folder, or tars and .txt lists of tars (one path per line, relative to the list). */
export async function sourceOf(paths) {
  const first = await stat(paths[0])
  if (first.isDirectory()) {
    if (paths.length > 1) throw new Error('plan: expected one folder, or tars')
    return { kind: 'folder', root: resolve(paths[0]) }
  }
  const tars = new Set()
  const add = tar => {
    if (tars.has(tar)) throw new Error(`${tar} is named twice`)
    tars.add(tar)
  }
  for (const path of paths) {
    if (extname(path).toLowerCase() === '.txt') {
      const lines = (await readFile(path, 'utf8')).split(/\r?\n/)
      for (const line of lines) if (line.trim() !== '') add(resolve(dirname(path), line.trim()))
    } else if (extname(path).toLowerCase() === '.tar') add(resolve(path))
    else throw new Error(`${path}: expected a folder, a .tar or a .txt with one tar per line`)
  }
  const sources = [...tars]
  if (sources.length === 0) throw new Error(`${paths.join(', ')}: the list names no tar`)
  // Their common folder: paths below it are the same on a machine that has the tars elsewhere.
  let root = dirname(sources[0])
  const holds = tar => tar.startsWith(root.endsWith(sep) ? root : root + sep)
  while (!sources.every(holds)) root = dirname(root)
  return { kind: 'tars', root, sources }
}

/** A file that is not a valid archive; trying again does not help. */
export class DamagedArchive extends Error {}

/** Yields { id, image } for each image of a tar; the id is its name. `skip` is called for images that can't be read. */
export async function* imagesOfTar(root, tar, skip) {
  const source = createReadStream(join(root, tar))
  const entries = extract()
  let failed
  source.on('error', error => {
    failed = error
    entries.destroy(error)
  })
  source.pipe(entries)
  try {
    for await (const entry of entries) {
      const { name, type, size = 0 } = entry.header
      const id = `${tar}/${name}`
      if ((type && type !== 'file') || !isImageName(name)) entry.resume()
      else if (size > mostBytes) {
        skip(id, `has ${size} bytes; at most ${mostBytes} are read`)
        entry.resume()
      } else {
        const pieces = []
        for await (const piece of entry) pieces.push(piece)
        yield { id, image: Buffer.concat(pieces) }
      }
    }
  } catch (cause) {
    // An error of the file system may disappear, so it is tried again.
    if (failed) throw failed
    throw new DamagedArchive(`${tar} can't be read as a tar archive: ${cause.message}`, { cause })
  } finally {
    source.destroy()
    entries.destroy()
  }
}
