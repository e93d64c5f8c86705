/** Reads PyTorch's files as a table of tensors: TorchScript archives (a pickled tree of modules) and files of torch.save. */

import { inSlices } from '../base/slices.js'
import { badCheckpoint, type Pace, quote } from './errors.js'
import { flatten } from './flatten.js'
import { unpickle } from './pickle.js'
import type { Pickled, PickledStorage, PickledTensor } from './pickled.js'
import type { SourceFile } from './source-file.js'
import { ITEM_BYTES, type StoredTensor, type TensorTable } from './tensors.js'
import { LARGEST_INFLATED, type ZipEntry, ZipFile } from './zip.js'

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
/** Dtypes of tensors in untyped storages. */
const NAMED_DTYPE: Record<string, string> = {
  'torch.float16': 'F16',
  'torch.bfloat16': 'BF16',
  'torch.float32': 'F32',
  'torch.float64': 'F64',
  'torch.int64': 'I64',
  'torch.int32': 'I32',
}

/** Reads the archive's directory and data.pkl into `table`, which then owns the file. */
export async function readTorch(file: SourceFile, table: TensorTable, pace: Pace): Promise<void> {
  const zip = await ZipFile.open(file, pace)
  // The top-level folder of the archive may have any name.
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
  const { value } = await unpickle(data, file.path, pace)
  const starts = new Map<string, Promise<number>>()
  const startOf = (name: string, storage: PickledStorage): Promise<number> => {
    const entryName = `${top}data/${storage.key}`
    let start = starts.get(entryName)
    if (!start) {
      start = entryStart(zip, entryName, name, storage)
      starts.set(entryName, start)
    }
    return start
  }
  await addTensors(file, table, pace, value, startOf)
}

/** Where the bytes of a storage begin; a storage is an entry of the archive. */
async function entryStart(
  zip: ZipFile,
  entryName: string,
  name: string,
  storage: PickledStorage,
): Promise<number> {
  const { file } = zip
  const bad = (message: string, facts = {}) =>
    badCheckpoint(file.path, name, `tensor ${quote(name)}: ${message}`, facts)
  const entry = zip.entries.get(entryName)
  if (!entry) throw bad(`the archive has no entry ${quote(entryName)}`)
  if (!entry.stored) throw bad(`entry ${quote(entryName)} is deflated; tensors are stored`)
  const itemBytes = storageItemBytes(storage) ?? 1
  if (entry.bytes !== storage.numel * itemBytes)
    throw bad(`entry ${quote(entryName)} has ${entry.bytes} bytes, not ${storage.numel} x ${itemBytes}`, {
      expected: String(storage.numel * itemBytes),
      actual: String(entry.bytes),
    })
  return zip.dataOffset(entry)
}

/** Files from before PyTorch 1.6 begin with this: the pickled integer 0x1950a86a20f9469cfc6c. */
const MAGIC = 0x1950a86a20f9469cfc6cn

/** Such a file consists of several pickles (magic number, version, system, object, keys of storages) and then the storages. */
export async function readOldTorch(file: SourceFile, table: TensorTable, pace: Pace): Promise<void> {
  const data = await file.read(0, Math.min(LARGEST_INFLATED, file.bytes))
  pace.restart()
  const magic = await unpickle(data, file.path, pace)
  if (magic.value !== MAGIC)
    throw badCheckpoint(
      file.path,
      'header',
      'is a pickle that torch.save did not write: load it in Python and save its state_dict with torch.save or safetensors',
    )
  const version = await unpickle(data, file.path, pace, magic.end)
  const system = await unpickle(data, file.path, pace, version.end)
  if (system.value instanceof Map && system.value.get('little_endian') === false)
    throw badCheckpoint(file.path, 'little_endian', 'byte order "big"; only "little" is read')
  const { value, storages, end } = await unpickle(data, file.path, pace, system.end)
  const keys = await unpickle(data, file.path, pace, end)
  if (!Array.isArray(keys.value))
    throw badCheckpoint(file.path, 'header', 'has no list of storages after its pickle')
  const starts = new Map<string, number>()
  let at = keys.end
  for (const key of keys.value) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined
    const itemBytes = storage && storageItemBytes(storage)
    // If no tensor refers to a storage, or its item size is unknown, the storages after it can't be located.
    if (!storage || !itemBytes) break
    starts.set(storage.key, at + 8)
    at += 8 + storage.numel * itemBytes
  }
  await addTensors(file, table, pace, value, async (name, storage) => {
    const start = starts.get(storage.key)
    const itemBytes = storageItemBytes(storage) ?? 1
    if (start === undefined || start + storage.numel * itemBytes > file.bytes)
      throw badCheckpoint(
        file.path,
        name,
        `tensor ${quote(name)}: its storage ${quote(storage.key)} is not in the file, which is cut off or damaged`,
      )
    const stored = (await file.read(start - 8, 8)).readBigUInt64LE(0)
    if (stored !== BigInt(storage.numel))
      throw badCheckpoint(
        file.path,
        name,
        `tensor ${quote(name)}: its storage has ${stored} elements, not ${storage.numel}`,
        { expected: String(storage.numel), actual: String(stored) },
      )
    return start
  })
}

const storageName = ({ type }: PickledStorage): string => type.slice(type.lastIndexOf('.') + 1)

/** Undefined for unsupported types; untyped storages are counted in bytes. */
function storageItemBytes(storage: PickledStorage): number | undefined {
  const name = storageName(storage)
  if (/^_?UntypedStorage$/.test(name)) return 1
  const dtype = Object.hasOwn(STORAGE_DTYPE, name) ? STORAGE_DTYPE[name] : undefined
  return dtype === undefined ? undefined : ITEM_BYTES[dtype]
}

function dtypeOf({ storage, dtype }: PickledTensor): string | undefined {
  const name = storageName(storage)
  if (Object.hasOwn(STORAGE_DTYPE, name)) return STORAGE_DTYPE[name]
  return dtype !== undefined && Object.hasOwn(NAMED_DTYPE, dtype) ? NAMED_DTYPE[dtype] : undefined
}

/** Adds every tensor below `root` to the table; the position of its bytes is looked up only if it is used. */
async function addTensors(
  file: SourceFile,
  table: TensorTable,
  pace: Pace,
  root: Pickled,
  startOf: (name: string, storage: PickledStorage) => Promise<number>,
): Promise<void> {
  const { tensors, others } = await inSlices(flatten(root, file), pace.signal)
  pace.restart()
  const index = table.addFile(file)
  for (const [name, kind] of others) table.others.set(name, kind)
  let work = 0
  for (const [name, tensor] of tensors) {
    const { storage, offset, shape, strides } = tensor
    table.add(index, {
      name,
      shape,
      same: `${storage.key} ${offset} ${shape} ${strides}`,
      place: () => place(file, index, name, tensor, startOf),
    })
    if ((++work & 127) === 0 && pace.spent()) await pace.turn()
  }
}

/** Finds the tensor's bytes in the file and checks that it stays inside its storage. */
async function place(
  file: SourceFile,
  index: number,
  name: string,
  tensor: PickledTensor,
  startOf: (name: string, storage: PickledStorage) => Promise<number>,
): Promise<StoredTensor> {
  const { storage, offset, shape, strides } = tensor
  const dtype = dtypeOf(tensor)
  if (!dtype)
    throw badCheckpoint(
      file.path,
      name,
      `tensor ${quote(name)} is in a ${quote(tensor.dtype ?? storage.type).slice(1, -1)}, which is not read`,
    )
  const itemBytes = ITEM_BYTES[dtype]
  const elements = Math.floor((storage.numel * (storageItemBytes(storage) ?? 1)) / itemBytes)
  // The last element that the strides can reach.
  const last = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i], offset)
  if (!shape.includes(0) && !(last < elements))
    throw badCheckpoint(
      file.path,
      name,
      `tensor ${quote(name)} reaches element ${last} of a storage of ${elements}`,
    )
  const start = await startOf(name, storage)
  return { name, file: index, dtype, shape, strides, offset: start + offset * itemBytes }
}
