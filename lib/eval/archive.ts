/** Reads a WebDataset tar, in which the members of a sample share a name. */

import { on } from 'node:events'
import { createReadStream } from 'node:fs'
import type { ReadEntry } from 'tar'
import { untilAborted } from '../base/abort.js'
import { ClipError } from '../base/errors.js'
import { extensionOf, imageExtensions } from '../image/extensions.js'
import type { LeftOutReason } from '../image/files.js'
import { datasetFault as fault, type Reading, type Sample } from './samples.js'

/** Tar types of regular files. */
const isFile = new Set<string>(['File', 'OldFile', 'ContiguousFile'])
/** Size limits: images as everywhere else; a label is one line, captions are a few. */
const mostImageBytes = 256 * 2 ** 20
const mostLabelBytes = 2 ** 20

/** Yields the members of an archive; the next one follows when the current one has been read or resumed. */
async function* members(file: string, signal: AbortSignal | undefined): AsyncGenerator<ReadEntry> {
  const { Parser } = require('tar') as typeof import('tar')
  const parser = new Parser({ strict: true })
  const source = createReadStream(file)
  let current: ReadEntry | undefined
  source.on('error', error => {
    parser.emit('error', error)
    current?.destroy(error) // otherwise its reader would wait for ever
  })
  // The loop handles the first error; later ones have no other handler.
  parser.on('error', () => {})
  let marked = false
  parser.on('eof', () => {
    marked = true
  })
  const entries = on(parser, 'entry', { close: ['end'], ...(signal ? { signal } : {}) })
  source.pipe(parser as unknown as NodeJS.WritableStream)
  try {
    for await (const [entry] of entries) {
      current = entry as ReadEntry
      yield current
    }
    // Some writers omit the end marker, but half a header is not a valid end.
    if (!marked && source.bytesRead % 512 !== 0) throw new Error('it ends within a header')
  } finally {
    source.destroy()
  }
}

/** The members of a sample. */
interface Parts {
  key: string
  image?: Buffer
  /** .cls */
  label?: string
  /** .txt */
  text?: string
}

function sampleOf(file: string, { key, image, label, text }: Parts): Sample | undefined {
  const words = label ?? text
  if (image === undefined && words === undefined) return undefined
  if (image === undefined || words === undefined)
    throw fault(
      file,
      `sample ${key} has no ${image ? 'label (.cls or .txt)' : 'image (.jpg, .png, .webp or another)'}`,
    )
  const captions = (text ?? '')
    .split(/\r?\n/)
    .map(line => line.trim())
    .filter(line => line !== '')
  return {
    image,
    label: words,
    ...(captions.length > 1 || (captions.length > 0 && label !== undefined) ? { captions } : {}),
    ...(label !== undefined && /^\d+$/.test(label) ? { numbered: true } : {}),
    name: key,
  }
}

/** A sample consists of adjacent members with the same name before the first dot; at most one sample is in memory. */
export async function* webDataset(file: string, { signal, onLeftOut }: Reading): AsyncGenerator<Sample> {
  let parts: Parts | undefined
  let found = 0
  const finished = (): Sample[] => {
    const sample = parts && sampleOf(file, parts)
    if (!sample) return []
    found++
    return [sample]
  }
  const leaveOut = (entry: ReadEntry, reason: LeftOutReason, message: string) => {
    onLeftOut({ path: entry.path, reason, message })
    entry.resume()
  }
  const read = (entry: ReadEntry, most: number) => {
    if (entry.size > most)
      throw fault(file, `${entry.path} has ${entry.size} bytes; at most ${most} are read`)
    return untilAborted(entry.concat(), signal)
  }
  const text = async (entry: ReadEntry) => (await read(entry, mostLabelBytes)).toString('utf8').trim()
  try {
    for await (const entry of members(file, signal)) {
      signal?.throwIfAborted()
      const { path: name, type } = entry
      const base = name.slice(name.lastIndexOf('/') + 1)
      const dot = base.indexOf('.')
      const extension = extensionOf(base)
      const isImage = imageExtensions.has(extension)
      if (type === 'Directory') {
        entry.resume()
        continue
      }
      if (dot < 1 || !(isImage || extension === 'cls' || extension === 'txt')) {
        leaveOut(entry, 'name', 'has neither an image extension nor a label extension')
        continue
      }
      if (!isFile.has(type)) {
        leaveOut(entry, 'special', 'is a link or a special file')
        continue
      }
      const key = name.slice(0, name.length - base.length + dot)
      if (key !== parts?.key) {
        yield* finished()
        parts = { key }
      }
      if (!isImage) parts[extension === 'cls' ? 'label' : 'text'] = await text(entry)
      else if (parts.image) leaveOut(entry, 'place', 'is another image of its sample')
      else parts.image = await read(entry, mostImageBytes)
    }
    yield* finished()
  } catch (cause) {
    if (signal?.aborted) throw signal.reason
    if (cause instanceof ClipError) throw cause
    throw fault(file, `can't be read as a tar archive (${(cause as Error).message})`, cause)
  }
  if (found === 0) throw fault(file, 'has no samples: pairs like 000.png and 000.cls are expected')
}
