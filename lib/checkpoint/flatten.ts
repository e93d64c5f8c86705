/** Lists all tensors in an unpickled object by their paths: `state_dict.visual.proj`, `model.visual.proj`. */

import type { Steps } from '../base/slices.js'
import { badCheckpoint, quote } from './errors.js'
import {
  isKind,
  kindOfPickled,
  type Pickled,
  type PickledDict,
  type PickledRecord,
  type PickledTensor,
} from './pickled.js'
import type { SourceFile } from './source-file.js'

const MOST_TENSORS = 50_000
const MOST_OTHERS = 20_000
const MOST_ATTRIBUTES = 1_000_000
const DEEPEST = 64
/** A parameter's name. Each is a separate string, even if the pickle shares its parts. */
const LONGEST_NAME = 1000
/** Attributes of a pickled module in which PyTorch keeps the entries of its state_dict. */
const MODULE_PARTS = new Set(['_parameters', '_buffers', '_modules'])

/** A TorchScript module, or a module that was pickled as an object. */
const isModule = ({ type, state }: PickledRecord): boolean =>
  type.startsWith('__torch__.') || (state instanceof Map && state.has('_parameters'))

const TWICE = 'two tensors of this name'

export interface Flat {
  tensors: Map<string, PickledTensor>
  /** Short descriptions of entries that are not tensors. */
  others: Map<string, string>
}

class Walk implements Flat {
  readonly tensors = new Map<string, PickledTensor>()
  readonly others = new Map<string, string>()
  private attributes = 0
  private visited = 0
  /** The objects that are being visited, because objects may contain themselves. */
  private readonly open = new Set<object>()

  constructor(private readonly file: SourceFile) {}

  *visit(value: Pickled | undefined, path: string, depth: number): Steps<void> {
    if (++this.visited % 256 === 0) yield
    if (isKind(value, 'tensor')) this.tensor(path, value)
    else if (value instanceof Map || Array.isArray(value) || isKind(value, 'record')) {
      if (isKind(value, 'record') && !isModule(value)) this.other(path, value)
      if (depth > DEEPEST || this.open.has(value)) return
      this.open.add(value)
      yield* this.children(value, path, depth)
      this.open.delete(value)
    } else this.other(path, value)
  }

  private *children(
    value: PickledDict | Pickled[] | Exclude<Pickled, null>,
    path: string,
    depth: number,
  ): Steps<void> {
    if (value instanceof Map) {
      this.count(value.size, path)
      for (const [key, child] of value) yield* this.visit(child, this.join(path, key), depth + 1)
    } else if (Array.isArray(value)) {
      this.count(value.length, path)
      for (const [i, child] of value.entries()) {
        // In lists, visit only entries that may contain tensors, and don't report numbers.
        if (typeof child === 'object' && child !== null)
          yield* this.visit(child, this.join(path, i), depth + 1)
        else if (i % 1024 === 1023) yield
      }
    } else if (isKind(value, 'record')) {
      // With slots, a state is a pair of dictionaries.
      for (const part of Array.isArray(value.state) ? value.state : [value.state])
        yield* this.visitState(part, path, depth)
      if (value.items) yield* this.children(value.items, path, depth)
    }
  }

  private *visitState(state: Pickled | undefined, path: string, depth: number): Steps<void> {
    if (isKind(state, 'tensor')) return
    if (!(state instanceof Map)) {
      if (Array.isArray(state)) yield* this.children(state, path, depth)
      return
    }
    this.count(state.size + 1, path)
    const parts = [...MODULE_PARTS].filter(part => state.get(part) instanceof Map)
    for (const part of parts) yield* this.children(state.get(part)!, path, depth)
    if (parts.length > 0) return // the other attributes of a module are not part of its state
    for (const [key, child] of state) yield* this.visit(child, this.join(path, key), depth + 1)
  }

  private count(attributes: number, path: string): void {
    this.attributes += attributes
    if (this.attributes > MOST_ATTRIBUTES)
      throw badCheckpoint(this.file.path, path, `its objects have more than ${MOST_ATTRIBUTES} attributes`)
  }

  private join(path: string, key: string | number): string {
    const length = path.length + String(key).length
    if (length > LONGEST_NAME)
      throw badCheckpoint(
        this.file.path,
        'data.pkl',
        `the name ${quote(path + String(key).slice(0, 100))} has ${length} characters, more than ${LONGEST_NAME}`,
      )
    return path === '' ? String(key) : `${path}.${key}`
  }

  private tensor(path: string, tensor: PickledTensor): void {
    if (this.tensors.size >= MOST_TENSORS)
      throw badCheckpoint(this.file.path, 'data.pkl', `has more than ${MOST_TENSORS} tensors`)
    if (this.tensors.has(path)) this.others.set(path, TWICE)
    else this.tensors.set(path, tensor)
  }

  private other(path: string, value: Pickled | undefined): void {
    if (path !== '' && this.others.size < MOST_OTHERS && !this.others.has(path))
      this.others.set(path, kindOfPickled(value))
  }
}

/** Throws ERR_CLIP_CHECKPOINT if the object is larger than any checkpoint. */
export function* flatten(root: Pickled, file: SourceFile): Steps<Flat> {
  const walk = new Walk(file)
  yield* walk.visit(root, '', 0)
  // Attributes of modules are not reported, because every TorchScript archive has them.
  if (isKind(root, 'record') && isModule(root))
    for (const [name, kind] of walk.others) if (kind !== TWICE) walk.others.delete(name)
  for (const [name, kind] of walk.others) if (kind === TWICE) walk.tensors.delete(name)
  return walk
}
