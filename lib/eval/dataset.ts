/** Labelled pictures to measure on: a folder per class, a CSV, a WebDataset tar, or the caller's own. */

import { on } from 'node:events'
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { dirname, extname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ReadEntry } from 'tar'
import { argumentError, ClipError } from '../errors.js'
import type { ImageInput } from '../image/input.js'

/** A picture and what it shows. */
export interface Sample {
  /** The picture, or where it lies. */
  image: ImageInput
  /** Its class, or for retrieval its caption. */
  label: string
  /** What reports call it: a path, or its name in an archive. */
  name?: string
  /** Where a data set says so: 'train', 'validation' or 'test', as it spells them. */
  split?: string
}

/** What `evaluate` reads: more than once, always in the same order. */
export interface Dataset {
  /** What reports call it. */
  readonly name: string
  /** All samples, from the first; called once for each time that they are read. */
  samples(signal?: AbortSignal): AsyncIterable<Sample>
}

const pictures = new Set(['.png', '.jpg', '.jpeg', '.webp', '.gif', '.avif', '.tif', '.tiff', '.svg'])
const inArchive = new Set(['.png', '.jpg', '.jpeg', '.webp'])
/** What tar writers call a plain file. */
const isFile = new Set<string>(['File', 'OldFile', 'ContiguousFile'])
/** As for picture files anywhere; a label is a line. */
const mostPictureBytes = 256 * 2 ** 20
const mostLabelBytes = 2 ** 20

const fault = (file: string, message: string, cause?: unknown) =>
  new ClipError('ERR_CLIP_INPUT', `${file}: ${message}`, { file, cause })

/** In the order of the letters' codes, so that no machine's language changes which pictures are drawn. */
const byCode = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

async function* folder(root: string, signal?: AbortSignal): AsyncGenerator<Sample> {
  const classes = (await readdir(root, { withFileTypes: true }))
    .filter(entry => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(entry => entry.name)
    .sort(byCode)
  let found = false
  for (const label of classes) {
    const files = (await readdir(join(root, label), { recursive: true })).sort(byCode)
    signal?.throwIfAborted()
    for (const file of files) {
      if (!pictures.has(extname(file).toLowerCase())) continue
      found = true
      yield { image: join(root, label, file), label, name: join(label, file) }
    }
  }
  if (!found) throw fault(root, 'has no folders of pictures: one folder for each class is expected')
}

/** Bytes that may be read without a row coming out. */
const mostRow = 2 ** 20

async function* csv(file: string, signal?: AbortSignal): AsyncGenerator<Sample> {
  const { parse } = require('@fast-csv/parse') as typeof import('@fast-csv/parse')
  const source = createReadStream(file)
  const rows = parse({ headers: true, ignoreEmpty: true, trim: true })
  source.on('error', error => rows.destroy(error))
  let line = 1
  // The parser keeps a row until it ends: one whose quotes are never closed would be the rest of the file.
  let since = 0
  source.on('data', piece => {
    since += piece.length
    if (since > mostRow) rows.destroy(new Error(`row ${line + 1} has more than ${mostRow} bytes`))
  })
  source.pipe(rows)
  const base = dirname(file)
  try {
    for await (const row of rows as AsyncIterable<Record<string, string>>) {
      signal?.throwIfAborted()
      line++
      since = 0
      const { file: path, split } = row
      const label = row.label ?? row.text ?? row.caption
      if (path === undefined || label === undefined)
        throw fault(file, 'expected columns `file` and `label` (or `text`) in its first line')
      if (path === '' || label === '')
        throw fault(file, `row ${line} has no ${path === '' ? 'file' : 'label'}`)
      yield { image: resolve(base, path), label, name: path, ...(split ? { split } : {}) }
    }
  } catch (cause) {
    if (cause instanceof ClipError || signal?.aborted) throw cause
    throw fault(file, `can't be read as CSV (${(cause as Error).message})`, cause)
  } finally {
    source.destroy()
    rows.destroy()
  }
}

/** The members of an archive, one at a time: the next comes when this one has been read or resumed. */
async function* members(file: string): AsyncGenerator<ReadEntry> {
  const { Parser } = require('tar') as typeof import('tar')
  const parser = new Parser({ strict: true })
  const source = createReadStream(file)
  let current: ReadEntry | undefined
  source.on('error', error => {
    parser.emit('error', error)
    current?.destroy(error) // or who reads it would wait for ever
  })
  // The loop takes the first; one after that has nobody else.
  parser.on('error', () => {})
  let marked = false
  parser.on('eof', () => {
    marked = true
  })
  const entries = on(parser, 'entry', { close: ['end'] })
  source.pipe(parser as unknown as NodeJS.WritableStream)
  try {
    for await (const [entry] of entries) {
      current = entry as ReadEntry
      yield current
    }
    // Some writers leave the mark of the end out; half a header is no end.
    if (!marked && source.bytesRead % 512 !== 0) throw new Error('it ends within a header')
  } finally {
    source.destroy()
  }
}

/** One sample is all members with one name before its first dot, next to each other; at most one is in memory. */
async function* webDataset(file: string, signal?: AbortSignal): AsyncGenerator<Sample> {
  let key: string | undefined
  let image: Buffer | undefined
  let label: string | undefined
  let found = 0
  const finished = (): Sample | undefined => {
    if (key === undefined) return undefined
    if (image && label !== undefined) return { image, label, name: key }
    if (image || label !== undefined)
      throw fault(
        file,
        `sample ${key} has no ${image ? 'label (.cls or .txt)' : 'picture (.jpg, .png or .webp)'}`,
      )
    return undefined
  }
  try {
    for await (const entry of members(file)) {
      signal?.throwIfAborted()
      const { path: name, type, size } = entry
      const base = name.slice(name.lastIndexOf('/') + 1)
      const dot = base.indexOf('.')
      if (!isFile.has(type) || dot < 1) {
        entry.resume()
        continue
      }
      const own = name.slice(0, name.length - base.length + dot)
      if (own !== key) {
        const sample = finished()
        if (sample) {
          found++
          yield sample
        }
        key = own
        image = undefined
        label = undefined
      }
      const extension = extname(base).toLowerCase()
      const isPicture = inArchive.has(extension)
      const isLabel = extension === '.cls' || extension === '.txt'
      const most = isPicture ? mostPictureBytes : mostLabelBytes
      if ((isPicture || isLabel) && size > most)
        throw fault(file, `${name} has ${size} bytes; at most ${most} are read`)
      if (isPicture) image = await entry.concat()
      // Where a sample has both, .cls is the class and .txt its caption.
      else if (extension === '.cls' || (isLabel && label === undefined))
        label = (await entry.concat()).toString('utf8').trim()
      else entry.resume()
    }
    const sample = finished()
    if (sample) {
      found++
      yield sample
    }
  } catch (cause) {
    if (cause instanceof ClipError || signal?.aborted) throw cause
    throw fault(file, `can't be read as a tar archive (${(cause as Error).message})`, cause)
  }
  if (found === 0) throw fault(file, 'has no samples: pairs like 000.png and 000.cls are expected')
}

/**
 * Opens a folder with a folder per class, a CSV with the columns `file` (relative to it), `label` (or `text`) and, if it
 * has one, `split`, or a WebDataset tar (.jpg, .png or .webp with .cls or .txt). Pictures are read as they are needed.
 * Rejects with ClipError ERR_CLIP_INPUT when it is none of them.
 */
export async function openDataset(source: string | URL): Promise<Dataset> {
  if (typeof source !== 'string' && !(source instanceof URL))
    throw argumentError('dataset', 'be a path, or { name, samples }', source)
  const path = source instanceof URL ? fileURLToPath(source) : source
  const stats = await stat(path).catch(cause => {
    throw fault(path, `can't be opened (${cause.code ?? cause.message})`, cause)
  })
  const kind = extname(path).toLowerCase()
  const read = stats.isDirectory() ? folder : kind === '.csv' ? csv : kind === '.tar' ? webDataset : undefined
  if (!read || !(stats.isDirectory() || stats.isFile()))
    throw fault(path, 'is no data set: a folder with a folder per class, a .csv or a .tar is expected')
  return { name: path, samples: signal => read(path, signal) }
}

/** What the caller gave, as a data set: samples in an array are one too. */
export async function datasetOf(source: unknown): Promise<Dataset> {
  if (Array.isArray(source)) {
    source.forEach((sample, i) => {
      if (sample === null || typeof sample !== 'object' || typeof sample.label !== 'string')
        throw argumentError(`dataset[${i}]`, 'be { image, label }', sample)
    })
    const list = source as Sample[]
    return {
      name: `${list.length} samples`,
      async *samples() {
        yield* list
      },
    }
  }
  if (typeof (source as Dataset | undefined)?.samples === 'function') return source as Dataset
  return openDataset(source as string)
}
