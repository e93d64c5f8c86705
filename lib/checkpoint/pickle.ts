/**
 * The part of Python's pickle (protocol 2) that PyTorch writes, read as data. Nothing is ever called: the only
 * globals are tensors, ordered dictionaries, storage types, and TorchScript's module classes, which stay inert
 * records. Any other global is refused by its name, any other opcode by its number.
 */

import { badCheckpoint, type Pace, quote } from './errors.js'

/** torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...), not yet checked. */
export interface PickledTensor {
  kind: 'tensor'
  storage: PickledStorage
  offset: number
  shape: number[]
  strides: number[]
}
/** Persistent id ('storage', class, key, device, numel). */
export interface PickledStorage {
  kind: 'storage'
  type: string
  key: string
  numel: number
}
export interface PickledGlobal {
  kind: 'global'
  name: string
}
/** An object of a TorchScript class: its attributes. */
export interface PickledRecord {
  kind: 'record'
  type: string
  state?: Pickled
}
export type PickledDict = Map<string | number, Pickled>
export type Pickled =
  | null
  | boolean
  | number
  | string
  | Pickled[]
  | PickledDict
  | PickledTensor
  | PickledStorage
  | PickledGlobal
  | PickledRecord

const REBUILD = 'torch._utils._rebuild_tensor_v2'
const ORDERED = 'collections.OrderedDict'
const STORAGE = /^torch\.[A-Za-z0-9]{1,20}Storage$/
const MODULE = /^__torch__(\.|$)/

const MOST_VALUES = 600_000
/** An empty Map takes some 200 bytes, its opcode one. */
const MOST_DICTS = 100_000
const DEEPEST = 1000

/** What a value is, for messages. */
export function kindOfPickled(value: Pickled | undefined): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'None'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (value instanceof Map) return 'a dict'
  if (typeof value === 'object') return value.kind === 'record' ? `a ${value.type}` : `a ${value.kind}`
  return typeof value === 'string' ? quote(value) : String(value)
}

export function isKind<K extends 'tensor' | 'storage' | 'global' | 'record'>(
  value: Pickled | undefined,
  kind: K,
): value is Extract<Pickled, { kind: K }> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind
}

class Unpickler {
  private at = 0
  private values = 0
  private dicts = 0
  private stack: Pickled[] = []
  /** The stacks below each MARK. */
  private readonly marks: Pickled[][] = []
  private readonly memo = new Map<number, Pickled>()

  constructor(
    private readonly data: Buffer,
    private readonly file: string,
  ) {}

  async run(pace: Pace): Promise<Pickled> {
    for (let steps = 1; ; ++steps) {
      const opcode = this.u8()
      if (opcode === 0x2e) break // STOP
      this.step(opcode)
      if ((steps & 255) === 0 && pace.spent()) await pace.turn()
    }
    return this.pop()
  }

  private fail(message: string, field = 'data.pkl') {
    return badCheckpoint(this.file, field, `pickle: ${message} (at byte ${this.at})`)
  }

  private take(bytes: number): number {
    const at = this.at
    if (bytes > this.data.length - at) throw this.fail('ends in the middle')
    this.at += bytes
    return at
  }
  private u8(): number {
    return this.data[this.take(1)]
  }
  private text(bytes: number): string {
    const at = this.take(bytes)
    return this.data.toString('utf8', at, at + bytes)
  }
  private line(): string {
    const end = this.data.indexOf(10, this.at)
    if (end < 0 || end - this.at > 1000) throw this.fail('a name without end')
    const line = this.text(end - this.at)
    ++this.at
    return line
  }

  private push(value: Pickled): void {
    if (++this.values > MOST_VALUES) throw this.fail(`more than ${MOST_VALUES} values`)
    this.stack.push(value)
  }
  private dict(): PickledDict {
    if (++this.dicts > MOST_DICTS) throw this.fail(`more than ${MOST_DICTS} dicts`)
    return new Map()
  }
  private pop(): Pickled {
    const value = this.stack.pop()
    if (value === undefined) throw this.fail('takes a value that is not there')
    return value
  }
  private popMark(): Pickled[] {
    const items = this.stack
    const below = this.marks.pop()
    if (!below) throw this.fail('takes a mark that is not there')
    this.stack = below
    return items
  }
  private tuple(count: number): void {
    if (this.stack.length < count) throw this.fail('takes a value that is not there')
    this.push(this.stack.splice(this.stack.length - count, count))
  }
  private recall(key: number): void {
    const value = this.memo.get(key)
    if (value === undefined) throw this.fail(`recalls ${key}, which was not memorised`)
    this.push(value)
  }
  private memorise(key: number): void {
    if (this.stack.length === 0) throw this.fail('memorises a value that is not there')
    this.memo.set(key, this.stack[this.stack.length - 1])
  }

  private step(opcode: number): void {
    switch (opcode) {
      case 0x80: {
        // PROTO
        const protocol = this.u8()
        if (protocol !== 2) throw this.fail(`protocol ${protocol}; PyTorch writes 2`)
        break
      }
      case 0x28: // MARK
        if (this.marks.length >= DEEPEST) throw this.fail(`nested more than ${DEEPEST} deep`)
        this.marks.push(this.stack)
        this.stack = []
        break
      case 0x4e: // NONE
        this.push(null)
        break
      case 0x88: // NEWTRUE
        this.push(true)
        break
      case 0x89: // NEWFALSE
        this.push(false)
        break
      case 0x4b: // BININT1
        this.push(this.u8())
        break
      case 0x4d: // BININT2
        this.push(this.data.readUInt16LE(this.take(2)))
        break
      case 0x4a: // BININT
        this.push(this.data.readInt32LE(this.take(4)))
        break
      case 0x8a: {
        // LONG1
        const bytes = this.u8()
        if (bytes > 8) throw this.fail(`an integer of ${bytes} bytes`)
        const at = this.take(bytes)
        let value = 0n
        for (let i = bytes - 1; i >= 0; --i) value = (value << 8n) | BigInt(this.data[at + i])
        this.push(Number(BigInt.asIntN(8 * bytes, value)))
        break
      }
      case 0x47: // BINFLOAT
        this.push(this.data.readDoubleBE(this.take(8)))
        break
      case 0x58: // BINUNICODE
        this.push(this.text(this.data.readUInt32LE(this.take(4))))
        break
      case 0x29: // EMPTY_TUPLE
      case 0x5d: // EMPTY_LIST
        this.push([])
        break
      case 0x7d: // EMPTY_DICT
        this.push(this.dict())
        break
      case 0x74: {
        // TUPLE
        const items = this.popMark()
        this.push(items)
        break
      }
      case 0x85: // TUPLE1, 2, 3
      case 0x86:
      case 0x87:
        this.tuple(opcode - 0x84)
        break
      case 0x61: {
        // APPEND
        const value = this.pop()
        this.append([value])
        break
      }
      case 0x65: // APPENDS
        this.append(this.popMark())
        break
      case 0x73: {
        // SETITEM
        const value = this.pop()
        this.setItems([this.pop(), value])
        break
      }
      case 0x75: // SETITEMS
        this.setItems(this.popMark())
        break
      case 0x71: // BINPUT
        this.memorise(this.u8())
        break
      case 0x72: // LONG_BINPUT
        this.memorise(this.data.readUInt32LE(this.take(4)))
        break
      case 0x68: // BINGET
        this.recall(this.u8())
        break
      case 0x6a: // LONG_BINGET
        this.recall(this.data.readUInt32LE(this.take(4)))
        break
      case 0x63: // GLOBAL
        this.global(this.line(), this.line())
        break
      case 0x81: // NEWOBJ
      case 0x52: {
        // REDUCE
        const args = this.pop()
        this.make(this.pop(), args, opcode === 0x81)
        break
      }
      case 0x62: // BUILD
        this.build(this.pop())
        break
      case 0x51: // BINPERSID
        this.persistent(this.pop())
        break
      default:
        throw this.fail(`opcode 0x${opcode.toString(16)} is not one that PyTorch's checkpoints use`)
    }
  }

  private append(items: Pickled[]): void {
    const list = this.stack[this.stack.length - 1]
    if (!Array.isArray(list)) throw this.fail(`appends to ${kindOfPickled(list)}`)
    for (const item of items) list.push(item)
  }

  private setItems(items: Pickled[]): void {
    const dict = this.stack[this.stack.length - 1]
    if (!(dict instanceof Map) || items.length % 2 !== 0)
      throw this.fail(`sets items of ${kindOfPickled(dict)}`)
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i]
      if (typeof key !== 'string' && typeof key !== 'number')
        throw this.fail(`${kindOfPickled(key)} as a key`)
      dict.set(key, items[i + 1])
    }
  }

  private global(module: string, name: string): void {
    const full = `${module}.${name}`
    if (full !== REBUILD && full !== ORDERED && !STORAGE.test(full) && !MODULE.test(module))
      throw this.fail(
        `refers to ${quote(full)}; only tensors, dictionaries and TorchScript modules are read`,
        full,
      )
    this.push({ kind: 'global', name: full })
  }

  private make(what: Pickled, args: Pickled, newObject: boolean): void {
    if (!isKind(what, 'global') || !Array.isArray(args)) throw this.fail(`calls ${kindOfPickled(what)}`)
    if (MODULE.test(what.name) && newObject && args.length === 0)
      this.push({ kind: 'record', type: what.name })
    else if (what.name === ORDERED && args.length === 0) this.push(this.dict())
    else if (what.name === REBUILD && !newObject) this.push(this.tensor(args))
    else throw this.fail(`calls ${quote(what.name)} with ${args.length} arguments`, what.name)
  }

  private tensor(args: Pickled[]): PickledTensor {
    const [storage, offset, shape, strides] = args
    if (!isKind(storage, 'storage')) throw this.fail(`a tensor in ${kindOfPickled(storage)}`)
    if (!isCount(offset) || !isCounts(shape) || !isCounts(strides) || shape.length !== strides.length)
      throw this.fail(
        `a tensor with offset ${kindOfPickled(offset)}, size ${kindOfPickled(shape)} and stride ${kindOfPickled(strides)}`,
      )
    return { kind: 'tensor', storage, offset, shape, strides }
  }

  private build(state: Pickled): void {
    const object = this.stack[this.stack.length - 1]
    if (isKind(object, 'record')) object.state = state
    // An OrderedDict's own attributes: the versions of a state_dict's modules.
    else if (!(object instanceof Map)) throw this.fail(`sets attributes of ${kindOfPickled(object)}`)
  }

  private persistent(id: Pickled): void {
    if (!Array.isArray(id) || id.length !== 5 || id[0] !== 'storage')
      throw this.fail(`a persistent id that is ${kindOfPickled(id)}`)
    const [, type, key, , numel] = id
    if (!isKind(type, 'global') || !STORAGE.test(type.name) || typeof key !== 'string' || !isCount(numel))
      throw this.fail(`a storage of ${kindOfPickled(type)} with key ${kindOfPickled(key)}`)
    this.push({ kind: 'storage', type: type.name, key, numel })
  }
}

function isCount(value: Pickled | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isCounts(value: Pickled | undefined): value is number[] {
  return Array.isArray(value) && value.length <= 8 && value.every(isCount)
}

/** The one object in `data`. Throws ERR_CLIP_CHECKPOINT that names `file` and what was refused. */
export function unpickle(data: Buffer, file: string, pace: Pace): Promise<Pickled> {
  return new Unpickler(data, file).run(pace)
}
