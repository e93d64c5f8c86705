/**
 * Reads Python pickles, protocols 2 to 5, as data. Nothing is ever called or imported: tensors, parameters, dictionaries and
 * storages are recognised by name; anything else that a pickle refers to or calls becomes an inert record with that name.
 */

import { type Pace, quote } from './errors.js'
import { LONGEST_GLOBAL, PickleBytes } from './pickle-bytes.js'
import {
  isCount,
  isKind,
  kindOfPickled,
  type Pickled,
  type PickledDict,
  type PickledStorage,
  tensorOf,
} from './pickled.js'

/** The functions of PyTorch that return a tensor for a storage, offset, size and stride. */
const REBUILD = new Set([
  'torch._utils._rebuild_tensor',
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_tensor_v3',
])
/** Functions whose first argument is the tensor. */
const PARAMETERS = new Set([
  'torch._utils._rebuild_parameter',
  'torch._utils._rebuild_parameter_with_state',
  'torch.nn.parameter.Parameter',
])
/** (function, class, arguments, state): a tensor with additional attributes. */
const FROM_TYPE = 'torch._tensor._rebuild_from_type_v2'
const DICTS = new Set(['collections.OrderedDict', 'collections.defaultdict', 'collections.Counter'])
for (const builtins of ['builtins', '__builtin__']) DICTS.add(`${builtins}.dict`)
const STORAGE = /^torch\.(?:[a-z_]{1,20}\.)?_?[A-Za-z0-9]{1,20}Storage$/

const MOST_VALUES = 600_000
/** An empty Map takes about 200 bytes, but its opcode only one. */
const MOST_DICTS = 100_000
const DEEPEST = 1000
/** Python's integers may have any length; seeds and step counts need no more than this. */
const LONGEST_INTEGER = 1024

class Unpickler extends PickleBytes {
  private values = 0
  private dicts = 0
  private stack: Pickled[] = []
  /** The stacks below each MARK. */
  private readonly marks: Pickled[][] = []
  private readonly memo = new Map<number, Pickled>()
  readonly storages = new Map<string, PickledStorage>()

  constructor(data: Buffer, file: string, at: number) {
    super(data, file, at)
  }

  /** Where the next of several consecutive pickles begins. */
  get end(): number {
    return this.at
  }

  async run(pace: Pace): Promise<Pickled> {
    for (let steps = 1; ; ++steps) {
      const opcode = this.u8()
      if (opcode === 0x2e) break // STOP
      this.step(opcode)
      if ((steps & 255) === 0 && pace.spent()) await pace.turn()
    }
    return this.pop()
  }

  private bytes(length: number): void {
    this.take(length)
    this.push({ kind: 'bytes', length })
  }
  private long(bytes: number): void {
    if (bytes > LONGEST_INTEGER) throw this.fail(`an integer of ${bytes} bytes`)
    const at = this.take(bytes)
    const digits = Buffer.from(this.data.subarray(at, at + bytes))
      .reverse()
      .toString('hex')
    const value = BigInt.asIntN(8 * bytes, BigInt(`0x${digits || '0'}`))
    this.push(Number.isSafeInteger(Number(value)) ? Number(value) : value)
  }
  private count(values: number): void {
    this.values += values
    if (this.values > MOST_VALUES) throw this.fail(`more than ${MOST_VALUES} values`)
  }
  private push(value: Pickled): void {
    this.count(1)
    this.stack.push(value)
  }
  private dict(): PickledDict {
    if (++this.dicts > MOST_DICTS) throw this.fail(`more than ${MOST_DICTS} dicts`)
    return new Map()
  }
  private pop(): Pickled {
    const value = this.stack.pop()
    if (value === undefined) throw this.fail('uses a value that does not exist')
    return value
  }
  private popMark(): Pickled[] {
    const items = this.stack
    const below = this.marks.pop()
    if (!below) throw this.fail('uses a mark that does not exist')
    this.stack = below
    return items
  }
  private tuple(count: number): void {
    if (this.stack.length < count) throw this.fail('uses a value that does not exist')
    this.push(this.stack.splice(this.stack.length - count, count))
  }
  private recall(key: number): void {
    const value = this.memo.get(key)
    if (value === undefined) throw this.fail(`recalls ${key}, which was not memorised`)
    this.push(value)
  }
  private memorise(key: number): void {
    if (this.stack.length === 0) throw this.fail('memorises a value that does not exist')
    this.memo.set(key, this.stack[this.stack.length - 1])
  }

  private step(opcode: number): void {
    switch (opcode) {
      case 0x80: {
        // PROTO
        const protocol = this.u8()
        if (protocol < 2 || protocol > 5) throw this.fail(`protocol ${protocol}; 2 to 5 are read`)
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
      case 0x8a: // LONG1
        this.long(this.u8())
        break
      case 0x8b: // LONG4
        this.long(this.data.readUInt32LE(this.take(4)))
        break
      case 0x47: // BINFLOAT
        this.push(this.data.readDoubleBE(this.take(8)))
        break
      case 0x58: // BINUNICODE
        this.push(this.text(this.data.readUInt32LE(this.take(4))))
        break
      case 0x8c: // SHORT_BINUNICODE
      case 0x55: // SHORT_BINSTRING: what Python 2 wrote
        this.push(this.text(this.u8()))
        break
      case 0x54: // BINSTRING
        this.push(this.text(this.data.readUInt32LE(this.take(4))))
        break
      case 0x8d: // BINUNICODE8
        this.push(this.text(this.u64()))
        break
      case 0x43: // SHORT_BINBYTES
        this.bytes(this.u8())
        break
      case 0x42: // BINBYTES
        this.bytes(this.data.readUInt32LE(this.take(4)))
        break
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        this.bytes(this.u64())
        break
      case 0x95: // FRAME: how much a reader may fetch at once
        this.take(8)
        break
      case 0x30: // POP
        this.pop()
        break
      case 0x31: // POP_MARK
        this.popMark()
        break
      case 0x32: {
        // DUP
        const value = this.pop()
        this.stack.push(value)
        this.push(value)
        break
      }
      case 0x8f: // EMPTY_SET
      case 0x29: // EMPTY_TUPLE
      case 0x5d: // EMPTY_LIST
        this.push([])
        break
      case 0x7d: // EMPTY_DICT
        this.push(this.dict())
        break
      case 0x91: // FROZENSET
      case 0x6c: // LIST
      case 0x74: {
        // TUPLE
        const items = this.popMark()
        this.push(items)
        break
      }
      case 0x64: {
        // DICT
        const items = this.popMark()
        this.push(this.dict())
        this.setItems(items)
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
      case 0x90: // ADDITEMS
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
      case 0x94: // MEMOIZE
        this.memorise(this.memo.size)
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
        this.push({ kind: 'global', name: `${this.line()}.${this.line()}` })
        break
      case 0x93: {
        // STACK_GLOBAL
        const name = this.pop()
        const module = this.pop()
        if (typeof name !== 'string' || typeof module !== 'string')
          throw this.fail(`a global named ${kindOfPickled(module)}.${kindOfPickled(name)}`)
        if (name.length + module.length > LONGEST_GLOBAL) throw this.fail('a name without end')
        this.push({ kind: 'global', name: `${module}.${name}` })
        break
      }
      case 0x92: // NEWOBJ_EX
        this.pop()
        this.make(this.pop(), this.pop())
        break
      case 0x81: // NEWOBJ
      case 0x52: // REDUCE
        this.make(this.pop(), this.pop())
        break
      case 0x62: // BUILD
        this.build(this.pop())
        break
      case 0x51: // BINPERSID
        this.persistent(this.pop())
        break
      case 0x97: // NEXT_BUFFER
      case 0x98: // READONLY_BUFFER
        throw this.fail('data outside of the pickle (opcode NEXT_BUFFER), which no file can hold')
      default:
        throw this.fail(`opcode 0x${opcode.toString(16)} is not one that PyTorch's checkpoints use`)
    }
  }

  private append(items: Pickled[]): void {
    const list = this.stack[this.stack.length - 1]
    if (isKind(list, 'record')) return
    if (!Array.isArray(list)) throw this.fail(`appends to ${kindOfPickled(list)}`)
    for (const item of items) list.push(item)
  }

  private setItems(items: Pickled[]): void {
    const object = this.stack[this.stack.length - 1]
    if (isKind(object, 'record')) object.items ??= this.dict()
    const dict = isKind(object, 'record') ? object.items : object
    if (!(dict instanceof Map) || items.length % 2 !== 0)
      throw this.fail(`sets items of ${kindOfPickled(object)}`)
    for (let i = 0; i < items.length; i += 2) this.set(dict, items[i], items[i + 1])
  }

  /** Keys of a model's tensors are always strings or numbers. */
  private set(dict: PickledDict, key: Pickled | undefined, value: Pickled): void {
    if (typeof key === 'string' || typeof key === 'number') dict.set(key, value)
  }

  /** The data that a call would return, if it is recognised. Nothing is called. */
  private make(args: Pickled, what: Pickled): void {
    const name = isKind(what, 'global') ? what.name : kindOfPickled(what)
    const list = Array.isArray(args) ? args : []
    this.push(this.made(name, list))
  }

  private made(name: string, args: Pickled[]): Pickled {
    if (DICTS.has(name)) return this.dictOf(args)
    if (REBUILD.has(name)) return tensorOf(args, message => this.fail(message))
    if (PARAMETERS.has(name) && isKind(args[0], 'tensor')) return args[0]
    if (name === FROM_TYPE && isKind(args[0], 'global') && Array.isArray(args[2])) {
      const inner = args[0].name
      if (REBUILD.has(inner) || PARAMETERS.has(inner)) return this.made(inner, args[2])
    }
    // copyreg._reconstructor(class, base, state)
    const type = name.endsWith('._reconstructor') && isKind(args[0], 'global') ? args[0].name : name
    return args.length > 0 ? { kind: 'record', type, state: args } : { kind: 'record', type }
  }

  /** OrderedDict(), OrderedDict([[key, value], ...]), Counter({...}), defaultdict(factory). */
  private dictOf(args: Pickled[]): PickledDict {
    const dict = this.dict()
    for (const given of args) {
      if (given instanceof Map || Array.isArray(given))
        this.count(given instanceof Map ? given.size : given.length)
      if (given instanceof Map) for (const [key, value] of given) dict.set(key, value)
      if (Array.isArray(given))
        for (const pair of given)
          if (Array.isArray(pair) && pair.length === 2) this.set(dict, pair[0], pair[1])
    }
    return dict
  }

  private build(state: Pickled): void {
    const object = this.stack[this.stack.length - 1]
    if (object === undefined) throw this.fail('uses a value that does not exist')
    // Attributes of a dictionary or a tensor, which don't change any values.
    if (isKind(object, 'record')) object.state = state
  }

  private persistent(id: Pickled): void {
    if (!Array.isArray(id)) throw this.fail(`a persistent id that is ${kindOfPickled(id)}`)
    if (id[0] !== 'storage') {
      // ('module', class, file, source), from versions before PyTorch 1.6.
      this.push(id[1] ?? null)
      return
    }
    const [, type, key, , numel, view] = id
    if (!isKind(type, 'global') || !STORAGE.test(type.name) || typeof key !== 'string' || !isCount(numel))
      throw this.fail(`a storage of ${kindOfPickled(type)} with key ${kindOfPickled(key)}`)
    const start = Array.isArray(view) ? view[1] : 0
    if (!isCount(start)) throw this.fail(`a view of a storage from ${kindOfPickled(start)} on`)
    const known = this.storages.get(key)
    if (known && (known.type !== type.name || known.numel !== numel))
      throw this.fail(`two storages with the key ${quote(key)}`)
    const storage: PickledStorage = { kind: 'storage', type: type.name, key, numel, start }
    if (!known) this.storages.set(key, storage)
    this.push(storage)
  }
}

export interface Unpickled {
  value: Pickled
  /** Where the pickle ends. */
  end: number
  storages: ReadonlyMap<string, PickledStorage>
}

/** The object that begins at byte `at` of `data`. Throws ERR_CLIP_CHECKPOINT that names `file` and what was refused. */
export async function unpickle(data: Buffer, file: string, pace: Pace, at = 0): Promise<Unpickled> {
  const unpickler = new Unpickler(data, file, at)
  const value = await unpickler.run(pace)
  return { value, end: unpickler.end, storages: unpickler.storages }
}
