/** PyTorch's zip files: TorchScript archives (a pickled tree of modules) and state dicts, as a table of tensors. */

import { badCheckpoint, type Pace, quote } from './errors.js'
import {
  isKind,
  kindOfPickled,
  type Pickled,
  type PickledDict,
  type PickledTensor,
  unpickle,
} from './pickle.js'
import type { SourceFile } from './source-file.js'
import { ITEM_BYTES, type TensorTable } from './tensors.js'
import { type ZipEntry, ZipFile } from './zip.js'

const STORAGE_DTYPE: Record<string, string> = {
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  FloatStorage: 'F32',
  DoubleStorage: 'F64',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
}

const MOST_TENSORS = 20_000
const MOST_ATTRIBUTES = 1_000_000
const DEEPEST = 64
/** A parameter's name. Each is a string of its own, however often its parts are shared in the pickle. */
const LONGEST_NAME = 1000

/** Reads the archive's directory and data.pkl into `table`, which then owns the file. */
export async function readTorch(file: SourceFile, table: TensorTable, pace: Pace): Promise<void> {
  const zip = await ZipFile.open(file, pace)
  // The top folder may have any name.
  const pickles = [...zip.entries.keys()].filter(name => /^[^/]+\/data\.pkl$/.test(name))
  if (pickles.length !== 1)
    throw badCheckpoint(
      file.path,
      'data.pkl',
      `zip archive with ${pickles.length} entries */data.pkl; PyTorch's have one`,
    )
  const top = pickles[0].slice(0, -'data.pkl'.length)
  const order = zip.entries.get(`${top}byteorder`)
  if (order) {
    const value = (await zip.read(order)).toString('latin1').trim()
    if (value !== 'little')
      throw badCheckpoint(file.path, 'byteorder', `byte order ${quote(value)}; only "little" is read`, {
        expected: 'little',
        actual: value,
      })
  }
  const data = await zip.read(zip.entries.get(pickles[0]) as ZipEntry)
  pace.restart()
  const root = await unpickle(data, file.path, pace)
  const tensors = isKind(root, 'record') ? moduleTensors(root, file) : stateDict(root, file)
  const index = table.addFile(file, ...zip.directory)
  await place(zip, `${top}data/`, tensors, index, table, pace)
}

/** A parameter's name is its path of attributes. */
function moduleTensors(root: Pickled, file: SourceFile): Map<string, PickledTensor> {
  const tensors = new Map<string, PickledTensor>()
  let attributes = 0
  const visit = (value: Pickled, prefix: string, depth: number) => {
    if (!isKind(value, 'record')) return
    // A module may hang in the tree many times, even in itself: bounds instead of a search for cycles.
    if (!(value.state instanceof Map))
      throw badCheckpoint(
        file.path,
        prefix || 'data.pkl',
        `module ${quote(prefix || value.type)} has ${kindOfPickled(value.state)} for its attributes`,
      )
    attributes += value.state.size + 1
    if (attributes > MOST_ATTRIBUTES || depth > DEEPEST)
      throw badCheckpoint(
        file.path,
        prefix,
        `its modules nest more than ${DEEPEST} deep or have more than ${MOST_ATTRIBUTES} attributes`,
      )
    for (const [key, child] of value.state) {
      checkName(file, prefix, key)
      if (isKind(child, 'tensor')) {
        tensors.set(prefix + key, child)
        if (tensors.size > MOST_TENSORS)
          throw badCheckpoint(file.path, prefix, `has more than ${MOST_TENSORS} tensors`)
      } else visit(child, `${prefix}${key}.`, depth + 1)
    }
  }
  visit(root, '', 0)
  return tensors
}

function checkName(file: SourceFile, prefix: string, key: string | number): void {
  const length = prefix.length + String(key).length
  if (length > LONGEST_NAME)
    throw badCheckpoint(
      file.path,
      'data.pkl',
      `the name ${quote(prefix + String(key).slice(0, 100))} has ${length} characters, more than ${LONGEST_NAME}`,
    )
}

function stateDict(root: Pickled, file: SourceFile): Map<string, PickledTensor> {
  let dict = root
  if (dict instanceof Map && dict.get('state_dict') instanceof Map)
    dict = dict.get('state_dict') as PickledDict
  if (!(dict instanceof Map))
    throw badCheckpoint(
      file.path,
      'data.pkl',
      `expected a module or a dict of tensors, got ${kindOfPickled(dict)}`,
    )
  const names = [...dict.keys()].map(String)
  // What DistributedDataParallel puts before every name.
  const strip = names.length > 0 && names.every(name => name.startsWith('module.')) ? 'module.'.length : 0
  const tensors = new Map<string, PickledTensor>()
  for (const [key, value] of dict) {
    checkName(file, '', key)
    if (!isKind(value, 'tensor'))
      throw badCheckpoint(
        file.path,
        String(key),
        `expected ${quote(String(key))} to be a tensor, got ${kindOfPickled(value)}`,
      )
    tensors.set(String(key).slice(strip), value)
    if (tensors.size > MOST_TENSORS)
      throw badCheckpoint(file.path, 'data.pkl', `has more than ${MOST_TENSORS} tensors`)
  }
  return tensors
}

/** Finds each tensor's bytes in the file and checks that it stays inside its storage. */
async function place(
  zip: ZipFile,
  folder: string,
  tensors: Map<string, PickledTensor>,
  index: number,
  table: TensorTable,
  pace: Pace,
): Promise<void> {
  const { file } = zip
  const starts = new Map<string, Promise<number>>()
  const all = [...tensors]
  // A few local headers at once: libuv has four threads.
  for (let from = 0; from < all.length; from += 16) {
    await Promise.all(
      all.slice(from, from + 16).map(async ([name, { storage, offset, shape, strides }]) => {
        const dtype = STORAGE_DTYPE[storage.type.slice('torch.'.length)]
        if (!dtype)
          throw badCheckpoint(
            file.path,
            name,
            `tensor ${quote(name)} is in a ${storage.type}, which is not read`,
          )
        const itemBytes = ITEM_BYTES[dtype]
        const entry = zip.entries.get(folder + storage.key)
        if (!entry)
          throw badCheckpoint(
            file.path,
            name,
            `tensor ${quote(name)}: the archive has no entry ${quote(folder + storage.key)}`,
          )
        if (!entry.stored)
          throw badCheckpoint(
            file.path,
            name,
            `tensor ${quote(name)}: entry ${quote(entry.name)} is deflated; tensors are stored`,
          )
        if (entry.bytes !== storage.numel * itemBytes)
          throw badCheckpoint(
            file.path,
            name,
            `tensor ${quote(name)}: entry ${quote(entry.name)} has ${entry.bytes} bytes, not ${storage.numel} x ${itemBytes}`,
            {
              expected: String(storage.numel * itemBytes),
              actual: String(entry.bytes),
            },
          )
        // The last element that the strides reach.
        const empty = shape.includes(0)
        const last = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i], offset)
        if (!empty && !(last < storage.numel))
          throw badCheckpoint(
            file.path,
            name,
            `tensor ${quote(name)} reaches element ${last} of a storage of ${storage.numel}`,
          )
        let start = starts.get(entry.name)
        if (!start) {
          start = zip.dataOffset(entry)
          starts.set(entry.name, start)
        }
        table.add({ name, file: index, dtype, shape, strides, offset: (await start) + offset * itemBytes })
      }),
    )
    pace.restart()
  }
}
