/** Images of a folder, or of WebDataset tars: always the same ones in the same order. */
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { dirname, extname, join, relative, resolve, sep } from 'node:path'
import { imageFiles, isImageName } from 'clip-native'
import { extract } from 'tar-stream'

const mostBytes = 256 * 2 ** 20
/** Paths relative to `root`, with /, in the order of their letters' codes. Links out of the folder are not followed. */
export async function* imagesOfFolder(root) {
  const onLeftOut = ({ path, reason, message }) => {
    if (reason !== 'name') console.warn(`left out: ${JSON.stringify(path)} ${message}`)
  }
  for await (const path of imageFiles(root, { onLeftOut })) {
    // A name that is not UTF-8 comes as a file: URL; a plan on another machine could not be sure of it.
    if (/^file:/.test(path)) onLeftOut({ path, message: 'has a name that is not UTF-8' })
    else yield relative(root, path).split(sep).join('/')
  }
}

/** What the command line named: one folder, or tars and .txt lists of tars (a path a line, relative to the list). */
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
    else throw new Error(`${path}: expected a folder, a .tar or a .txt with one tar a line`)
  }
  const sources = [...tars]
  if (sources.length === 0) throw new Error(`${paths.join(', ')}: no tar is named there`)
  // Their common folder: what stays the same where another machine has it elsewhere.
  let root = dirname(sources[0])
  const holds = tar => tar.startsWith(root.endsWith(sep) ? root : root + sep)
  while (!sources.every(holds)) root = dirname(root)
  return { kind: 'tars', root, sources }
}

/** An archive that is no archive: trying again does not help. */
export class DamagedArchive extends Error {}

/** { id, image } of each image of a tar; what it is called is its id. `skip` is told of those that can't be taken. */
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
    // Of the file system: another time it may be read.
    if (failed) throw failed
    throw new DamagedArchive(`${tar} can't be read as a tar archive: ${cause.message}`, { cause })
  } finally {
    source.destroy()
    entries.destroy()
  }
}
