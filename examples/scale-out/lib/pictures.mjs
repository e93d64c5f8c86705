/** Pictures of a folder, or of WebDataset tars: always the same ones in the same order. */
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, extname, join, resolve, sep } from 'node:path'
import { extract } from 'tar-stream'

const inFolder = /\.(jpe?g|png|webp|gif|tiff?|avif|svg)$/i
const inTar = /\.(jpe?g|png|webp)$/i
const mostBytes = 256 * 2 ** 20
/** By the codes of their letters: no machine's language changes the order. */
const byCode = (a, b) => (a < b ? -1 : a > b ? 1 : 0)

/** Paths relative to `root`, with /: a folder's files before its folders. Links to folders are not followed. */
export async function* picturesOfFolder(root, under = '') {
  const entries = await readdir(join(root, under), { withFileTypes: true })
  entries.sort((a, b) => byCode(a.name, b.name))
  for (const entry of entries) {
    const path = under === '' ? entry.name : `${under}/${entry.name}`
    if (entry.isDirectory() || !inFolder.test(entry.name)) continue
    if (entry.isFile() || (await isFile(join(root, path)))) yield path
  }
  for (const entry of entries)
    if (entry.isDirectory())
      yield* picturesOfFolder(root, under === '' ? entry.name : `${under}/${entry.name}`)
}

/** A link to a file is one. */
const isFile = path =>
  stat(path).then(
    stats => stats.isFile(),
    () => false,
  )

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

/** { id, image } of each picture of a tar; what it is called is its id. `skip` is told of those that can't be taken. */
export async function* picturesOfTar(root, tar, skip) {
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
      if ((type && type !== 'file') || !inTar.test(name)) entry.resume()
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
