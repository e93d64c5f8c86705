/** Writes what PyTorch would and what it never would: zip archives and pickles, byte by byte. */

import { deflateRawSync } from 'node:zlib'

export interface Entry {
  name: string
  data: Buffer
  deflate?: boolean
  /** What the directory says instead of the truth. */
  bytes?: number
  packed?: number
  flags?: number
}

/** A zip archive of these entries. */
export function zip(entries: Entry[]): Buffer {
  const locals: Buffer[] = []
  const central: Buffer[] = []
  let offset = 0
  for (const { name, data, deflate, bytes, packed, flags } of entries) {
    const body = deflate ? deflateRawSync(data) : data
    const title = Buffer.from(name)
    const local = Buffer.alloc(30)
    local.writeUInt32LE(0x04034b50, 0)
    local.writeUInt16LE(deflate ? 8 : 0, 8)
    local.writeUInt16LE(title.length, 26)
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50, 0)
    entry.writeUInt16LE(flags ?? 0, 8)
    entry.writeUInt16LE(deflate ? 8 : 0, 10)
    entry.writeUInt32LE(packed ?? body.length, 20)
    entry.writeUInt32LE(bytes ?? data.length, 24)
    entry.writeUInt16LE(title.length, 28)
    entry.writeUInt32LE(offset, 42)
    locals.push(local, title, body)
    central.push(entry, title)
    offset += 30 + title.length + body.length
  }
  const directory = Buffer.concat(central)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(entries.length, 8)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...locals, directory, end])
}

/** An archive whose data.pkl is this. */
export function archive(pickle: Buffer | string, more: Entry[] = []): Buffer {
  return zip([
    { name: 'm/data.pkl', data: typeof pickle === 'string' ? Buffer.from(pickle, 'latin1') : pickle },
    ...more,
  ])
}

export const PROTO = '\x80\x02'
/** GLOBAL module name. */
export const global = (module: string, name: string) => `c${module}\n${name}\n`
/** BINUNICODE of ASCII. */
export const unicode = (text: string) => {
  const size = Buffer.alloc(4)
  size.writeUInt32LE(text.length)
  return `X${size.toString('latin1')}${text}`
}
const int = (n: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(n)
  return `J${bytes.toString('latin1')}`
}
const ints = (values: number[]) => `(${values.map(int).join('')}t`

/** A call of _rebuild_tensor_v2. */
export function tensor(
  type: string,
  key: string,
  numel: number,
  offset: number,
  shape: number[],
  strides: number[],
): string {
  const storage = `(${unicode('storage')}${global('torch', type)}${unicode(key)}${unicode('cpu')}${int(numel)}tQ`
  return `${global('torch._utils', '_rebuild_tensor_v2')}(${storage}${int(offset)}${ints(shape)}${ints(strides)}\x89${global('collections', 'OrderedDict')})RtR`
}
