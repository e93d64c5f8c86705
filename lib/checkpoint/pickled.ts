/** The values in a pickle as data, and functions that check them. */

import { quote } from './errors.js'

/** The arguments of torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...) and similar functions, not yet checked. */
export interface PickledTensor {
  kind: 'tensor'
  storage: PickledStorage
  offset: number
  shape: number[]
  strides: number[]
  /** For example `torch.float32`, if the storage consists of bytes. */
  dtype?: string
}
/** Persistent id ('storage', class, key, device, numel); before PyTorch 1.6 also with a view of the storage. */
export interface PickledStorage {
  kind: 'storage'
  type: string
  key: string
  numel: number
  /** Where a view of the storage begins, in elements. */
  start: number
}
export interface PickledGlobal {
  kind: 'global'
  name: string
}
/** An object of any class, with its stored contents. */
export interface PickledRecord {
  kind: 'record'
  type: string
  state?: Pickled
  items?: PickledDict
}
/** A bytes object of a pickle, whose contents are not needed. */
export interface PickledBytes {
  kind: 'bytes'
  length: number
}
export type PickledDict = Map<string | number, Pickled>
export type Pickled =
  | null
  | boolean
  | number
  | bigint
  | string
  | Pickled[]
  | PickledDict
  | PickledTensor
  | PickledStorage
  | PickledGlobal
  | PickledRecord
  | PickledBytes

/** Describes a value, for messages. */
export function kindOfPickled(value: Pickled | undefined): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'None'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (value instanceof Map) return 'a dict'
  if (typeof value === 'object') return value.kind === 'record' ? nameText(value.type) : `a ${value.kind}`
  return typeof value === 'string' ? quote(value) : String(value).slice(0, 80)
}

const nameText = (name: string): string => quote(name).slice(1, -1)

export function isKind<K extends 'tensor' | 'storage' | 'global' | 'record'>(
  value: Pickled | undefined,
  kind: K,
): value is Extract<Pickled, { kind: K }> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind
}

/** The tensor of _rebuild_tensor_v2's arguments. */
export function tensorOf(args: Pickled[], fail: (message: string) => Error): PickledTensor {
  const [storage, offset, shape, strides] = args
  if (!isKind(storage, 'storage')) throw fail(`a tensor in ${kindOfPickled(storage)}`)
  if (!isCount(offset) || !isCounts(shape) || !isCounts(strides) || shape.length !== strides.length)
    throw fail(
      `a tensor with offset ${kindOfPickled(offset)}, size ${kindOfPickled(shape)} and stride ${kindOfPickled(strides)}`,
    )
  const dtype = args.slice(6).find(arg => isKind(arg, 'global'))
  return {
    kind: 'tensor',
    storage,
    offset: offset + storage.start,
    shape,
    strides,
    ...(isKind(dtype, 'global') ? { dtype: dtype.name } : {}),
  }
}

export function isCount(value: Pickled | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

export function isCounts(value: Pickled | undefined): value is number[] {
  return Array.isArray(value) && value.length <= 8 && value.every(isCount)
}
