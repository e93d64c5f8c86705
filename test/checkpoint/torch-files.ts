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

/** A float32 or int64 tensor by its bytes. */
export interface Stored {
  dtype: 'F32' | 'I64'
  shape: number[]
  data: Buffer
}

/** The items of a dictionary (SETITEMS) whose values are these tensors, and the archive's entries with their bytes. */
export function tensorItems(
  tensors: ReadonlyMap<string, Stored>,
  first = 0,
): { items: string; entries: Entry[] } {
  const entries: Entry[] = []
  let items = '('
  for (const [name, { dtype, shape, data }] of tensors) {
    const key = String(first + entries.length)
    const strides = shape.map((_, i) => shape.slice(i + 1).reduce((product, n) => product * n, 1))
    const type = dtype === 'F32' ? 'FloatStorage' : 'LongStorage'
    items += unicode(name) + tensor(type, key, data.length / (dtype === 'F32' ? 4 : 8), 0, shape, strides)
    entries.push({ name: `m/data/${key}`, data })
  }
  return { items: `${items}u`, entries }
}

/** What torch.save writes of {path: state dict}; an empty path: of the state dict itself. */
export function savedDict(tensors: ReadonlyMap<string, Stored>, path = ''): Buffer {
  const { items, entries } = tensorItems(tensors)
  const inner = `}${items}`
  const outer = path
    .split('.')
    .filter(Boolean)
    .reduceRight((value, key) => `}${unicode(key)}${value}s`, inner)
  return archive(`${PROTO}${outer}.`, entries)
}

/** An archive of TorchScript whose one module has these tensors. */
export function savedModule(tensors: ReadonlyMap<string, Stored>): Buffer {
  const { items, entries } = tensorItems(tensors)
  return archive(`${PROTO}${global('__torch__', 'CLIP')})\x81}${items}b.`, entries)
}

/** The tensors of a safetensors file. */
export function readTensors(file: Buffer): Map<string, Stored> {
  const length = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: 'F32' | 'I64'; shape: number[]; data_offsets: [number, number] }
  >
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== '__metadata__')
      .map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [from, to],
          },
        ]) => [name, { dtype, shape, data: file.subarray(8 + length + from, 8 + length + to) }],
      ),
  )
}

/** A safetensors file of these tensors. */
export function safetensors(tensors: ReadonlyMap<string, Omit<Stored, 'dtype'> & { dtype: string }>): Buffer {
  const header: Record<string, unknown> = {}
  let at = 0
  for (const [name, { dtype, shape, data }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.length] }
    at += data.length
  }
  const text = Buffer.from(JSON.stringify(header))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([size, text, ...[...tensors.values()].map(({ data }) => data)])
}

export const renamed = (tensors: ReadonlyMap<string, Stored>, rename: (name: string) => string) =>
  new Map([...tensors].map(([name, value]) => [rename(name), value]))
