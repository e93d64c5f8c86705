/** Reads a table of images and labels or captions: CSV, or tab-separated as for OpenCLIP. */

import { createReadStream } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { ClipError } from '../base/errors.js'
import { RegularFile } from '../base/regular-file.js'
import { datasetFault as fault, type Reading, type Sample } from './samples.js'

/** Maximum bytes to read without completing a row. */
const mostRow = 2 ** 20

/** Names of the image and label columns, as OpenCLIP, Hugging Face and Flickr use them; the first one found is used. */
const imageColumns = ['file', 'filepath', 'file_name', 'filename', 'image']
const labelColumns = ['label']
const captionColumns = ['text', 'caption', 'title']

const expected =
  'expected columns `file` and `label` (or `text`), or others of these names: ' +
  `${imageColumns.slice(1).join(', ')}; ${[...captionColumns.slice(1)].join(', ')}`

interface Columns {
  image: string
  label: string | undefined
  caption: string | undefined
  split: string | undefined
}

/** Determines the delimiter from the first line. */
async function delimiterOf(file: string, signal: AbortSignal | undefined): Promise<string> {
  const opened = await RegularFile.open(file, (message, { cause }) => fault(file, message, cause), signal)
  try {
    const start = (await opened.read(0, Math.min(opened.bytes, 65536))).toString('utf8')
    const [line] = start.split(/[\r\n]/, 1)
    return ['\t', ',', ';'].find(mark => line!.includes(mark)) ?? ','
  } finally {
    await opened.close()
  }
}

/** A column name for an error message: quoted and shortened. */
const shown = (name: string) => JSON.stringify(name.length > 30 ? `${name.slice(0, 27)}...` : name)

function columnsOf(file: string, found: readonly string[]): Columns {
  const byName = new Map(found.map(name => [name.toLowerCase(), name]))
  const first = (names: readonly string[]) => byName.get(names.find(name => byName.has(name)) ?? '')
  const [image, label, caption] = [imageColumns, labelColumns, captionColumns].map(first)
  if (image !== undefined && (label ?? caption) !== undefined)
    return { image, label, caption, split: byName.get('split') }
  const address = found.find(name => /url|uri/i.test(name))
  const list = found.slice(0, 8).map(shown).join(', ') + (found.length > 8 ? ', ...' : '')
  throw fault(
    file,
    `${expected}; its first line has ${list || 'none'}${
      image === undefined && address !== undefined
        ? `. Images at addresses are not downloaded: fetch them first, for example with img2dataset, whose tars are data sets`
        : ''
    }`,
  )
}

/** An image of a row: a path relative to the table, or a file: or data: URL. */
function imageOf(file: string, line: number, value: string): string {
  if (/^(https?|ftp|s3|gs):\/\//i.test(value))
    throw fault(
      file,
      `row ${line} names the address ${value.slice(0, 60)}: images are not downloaded, fetch them first`,
    )
  return /^(file|data):/i.test(value) ? value : resolve(dirname(file), value)
}

export async function* csv(file: string, { signal }: Reading): AsyncGenerator<Sample> {
  const { parse } = require('@fast-csv/parse') as typeof import('@fast-csv/parse')
  const delimiter = await delimiterOf(file, signal)
  const source = createReadStream(file, signal ? { signal } : {})
  const rows = parse({ headers: true, ignoreEmpty: true, trim: true, delimiter })
  let columns: Columns | undefined
  rows.on('headers', (names: string[]) => {
    try {
      columns = columnsOf(file, names)
    } catch (error) {
      rows.destroy(error as Error)
    }
  })
  source.on('error', error => rows.destroy(error))
  let line = 1
  // The parser buffers a row until its end: a row with unclosed quotes would be the rest of the file.
  let since = 0
  source.on('data', piece => {
    since += piece.length
    if (since > mostRow) rows.destroy(new Error(`row ${line + 1} has more than ${mostRow} bytes`))
  })
  source.pipe(rows)
  try {
    for await (const row of rows as AsyncIterable<Record<string, string>>) {
      signal?.throwIfAborted()
      line++
      since = 0
      const { image, label, caption, split } = columns!
      const [path, shows, text] = [image, label, caption].map(name => (name ? row[name]! : undefined))
      const words = shows ?? text!
      if (path === '' || words === '')
        throw fault(file, `row ${line} has no ${path === '' ? image : (label ?? caption)}`)
      yield {
        image: imageOf(file, line, path!),
        label: words,
        name: path!,
        ...(label !== undefined && text ? { captions: [text] } : {}),
        ...(split && row[split] ? { split: row[split]! } : {}),
      }
    }
  } catch (cause) {
    if (signal?.aborted) throw signal.reason
    if (cause instanceof ClipError) throw cause
    throw fault(file, `can't be read as CSV (${(cause as Error).message})`, cause)
  } finally {
    source.destroy()
    rows.destroy()
  }
}
