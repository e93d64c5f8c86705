/** The tensors of a checkpoint's files by their names, and the picker with which readers take those of a CLIP model. */

import { basename } from 'node:path'
import type { Scoring, TensorView } from '../native/spec.js'
import { badCheckpoint, badConfig, quote, shapeText } from './errors.js'
import type { SourceFile } from './source-file.js'

/** A tensor of a file; `dtype` may be one that weights can't have (such as I64 position ids). */
export interface StoredTensor extends Omit<TensorView, 'dtype'> {
  dtype: string
}

// biome-ignore format: one table
export const ITEM_BYTES: Record<string, number> = {
  BOOL: 1, U8: 1, I8: 1, F8_E5M2: 1, F8_E4M3: 1, I16: 2, U16: 2, F16: 2, BF16: 2,
  I32: 4, U32: 4, F32: 4, F64: 8, I64: 8, U64: 8,
}

export const MOST_DIMENSIONS = 8

/** A tensor in a checkpoint, before it is known whether it belongs to the model. */
export interface FoundTensor {
  /** As the file has it. */
  name: string
  shape: number[]
  /** Equal for tensors of a file that share the same bytes. */
  same: string
  /** Returns the position of its bytes, after checking that they exist. */
  place(): Promise<StoredTensor>
}

/** Row-major strides in elements. */
export function contiguous(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length)
  let step = 1
  for (let i = shape.length - 1; i >= 0; --i) {
    strides[i] = step
    step *= shape[i]
  }
  return strides
}

export class TensorTable {
  readonly files: SourceFile[] = []
  /** All tensors of the files, by their names there. */
  readonly found = new Map<string, FoundTensor>()
  /** Short descriptions of contents that are not tensors. */
  readonly others = new Map<string, string>()
  /** The tensors of the model, by their names in its layout; set by `selectModel`. */
  readonly tensors = new Map<string, StoredTensor>()
  /** Short descriptions of contents that are not part of the model. */
  readonly ignored: string[] = []
  /** The prefix of the model's names in the file: `state_dict.module.` */
  base = ''
  private readonly fileOf = new Map<string, number>()

  addFile(file: SourceFile): number {
    return this.files.push(file) - 1
  }

  add(file: number, tensor: FoundTensor): void {
    const other = this.fileOf.get(tensor.name)
    if (other !== undefined)
      throw badCheckpoint(
        this.files[file].path,
        tensor.name,
        `tensor ${quote(tensor.name)} is also in ${this.files[other].path}`,
      )
    this.fileOf.set(tensor.name, file)
    this.found.set(tensor.name, { ...tensor, same: `${file} ${tensor.same}` })
  }

  /** The file that holds a tensor of {@link found}. */
  pathOfName(name: string): string {
    return this.files[this.fileOf.get(name) ?? 0].path
  }

  pathOf(tensor: StoredTensor): string {
    return this.files[tensor.file].path
  }

  /** Where the tensors are, for messages. */
  get where(): string {
    return this.files.length === 1
      ? this.files[0].path
      : `${this.files[0].path} and ${this.files.length - 1} more`
  }

  /** Lists the tensors that are not part of the model; many names with the same prefix are listed as one. */
  ignore(names: readonly string[]): void {
    const groups = new Map<string, string[]>()
    for (const name of names) {
      const top = name.slice(0, Math.max(0, name.indexOf('.')))
      const group = groups.get(top || name)
      if (group) group.push(name)
      else groups.set(top || name, [name])
    }
    for (const [top, group] of groups) {
      if (group.length > 4) this.ignored.push(`${short(top)}.* (${group.length})`)
      else for (const name of group) this.ignored.push(short(name))
      if (this.ignored.length >= MOST_IGNORED) return
    }
  }

  /** 1 + the largest {i} of names `prefix{i}.rest`. */
  count(prefix: string): number {
    let count = 0
    for (const name of this.tensors.keys()) {
      if (!name.startsWith(prefix)) continue
      const digits = /^(\d{1,6})\./.exec(name.slice(prefix.length))
      if (digits) count = Math.max(count, Number(digits[1]) + 1)
    }
    return count
  }
}

/** A size and its source, so that the error for a mismatch can name both. */
export interface Size {
  n: number
  /** "vision_config.hidden_size in config.json" or "the shape of `visual.proj`". */
  from: string
  /** Set if it comes from a configuration file: a mismatch is then ERR_CLIP_CONFIG. */
  config?: { file: string; field: string }
}

export function times(a: Size, factor: number): Size {
  return factor === 1 ? a : { ...a, n: a.n * factor, from: `${factor} times ${a.from}` }
}

/** Maximum number of entries in a list for messages. */
const MOST_IGNORED = 200

const short = (name: string): string => quote(name).slice(1, -1)

const WEIGHTS = new Set(['F32', 'F16', 'BF16', 'F64'])

/** Takes tensors under their canonical names, checks dtype and shape, and keeps track of the unused ones. */
export class Picker {
  readonly picked: Record<string, TensorView> = {}
  private readonly used = new Set<string>()

  constructor(readonly table: TensorTable) {}

  /** Whether there is such a tensor. An entry of that name that is not a tensor (for example a quantised one) is refused. */
  has(name: string): boolean {
    if (this.table.tensors.has(name)) return true
    if (this.table.others.has(this.table.base + name)) throw this.missing(name)
    return false
  }

  /** The tensor under the checkpoint's name, or ERR_CLIP_CHECKPOINT naming it and the file. */
  find(name: string): StoredTensor {
    const tensor = this.table.tensors.get(name)
    if (!tensor) throw this.missing(name)
    this.used.add(name)
    return tensor
  }

  private missing(name: string): Error {
    const other = this.table.others.get(this.table.base + name)
    return other === undefined
      ? badCheckpoint(this.table.where, name, `tensor ${quote(name)} is missing`)
      : badCheckpoint(this.table.where, name, `expected ${quote(name)} to be a tensor, got ${other}`)
  }

  /** A dimension of a tensor, as a size with its source. */
  size(name: string, axis: number, dimensions: number): Size {
    const tensor = this.find(name)
    if (tensor.shape.length !== dimensions || !(tensor.shape[axis] > 0))
      throw badCheckpoint(
        this.table.pathOf(tensor),
        name,
        `expected tensor ${quote(name)} to have ${dimensions} dimensions, none of them 0, got ${shapeText(tensor.shape)}`,
        { actual: shapeText(tensor.shape) },
      )
    return { n: tensor.shape[axis], from: `the shape ${shapeText(tensor.shape)} of ${quote(name)}` }
  }

  /** Checks and takes `name` as `canonical`. */
  take(canonical: string, name: string, shape: (Size | number)[]): TensorView {
    const tensor = this.checked(name, shape)
    this.picked[canonical] = tensor
    return tensor
  }

  /** A layer norm's weight and bias. */
  takeNorm(canonical: string, name: string, width: Size): void {
    this.take(`${canonical}.weight`, `${name}.weight`, [width])
    this.take(`${canonical}.bias`, `${name}.bias`, [width])
  }

  /** A linear layer's weight (out, in) and bias. */
  takeLinear(canonical: string, name: string, out: Size, input: Size): void {
    this.take(`${canonical}.weight`, `${name}.weight`, [out, input])
    this.take(`${canonical}.bias`, `${name}.bias`, [out])
  }

  /** The same for a layer that combines several: its rows in equal parts. */
  takeLinearParts(canonical: string[], name: string, out: Size, input: Size): void {
    this.takeParts(
      canonical.map(part => `${part}.weight`),
      `${name}.weight`,
      [out, input],
    )
    this.takeParts(
      canonical.map(part => `${part}.bias`),
      `${name}.bias`,
      [out],
    )
  }

  /** A tensor of `shape` that is stored with `leading` dimensions of 1 before it. */
  takeRow(canonical: string, name: string, leading: number, shape: (Size | number)[]): void {
    const tensor = this.checked(name, [...new Array<number>(leading).fill(1), ...shape])
    this.picked[canonical] = {
      ...tensor,
      shape: tensor.shape.slice(leading),
      strides: tensor.strides.slice(leading),
    }
  }

  /** `count` rows of `name` from `first` on; without `count`, the single row `first` as a vector. */
  takeRows(canonical: string, name: string, shape: (Size | number)[], first: number, count?: number): void {
    const tensor = this.checked(name, shape)
    const offset = tensor.offset + first * tensor.strides[0] * ITEM_BYTES[tensor.dtype]
    const row = { shape: tensor.shape.slice(1), strides: tensor.strides.slice(1) }
    this.picked[canonical] = {
      ...tensor,
      offset,
      ...(count === undefined ? row : { shape: [count, ...row.shape] }),
    }
  }

  /** The [in, out] matrix `name` as the (out, in) tensor `canonical`. */
  takeTransposed(canonical: string, name: string, out: Size, input: Size): void {
    const tensor = this.checked(name, [input, out])
    this.picked[canonical] = {
      ...tensor,
      shape: [tensor.shape[1], tensor.shape[0]],
      strides: [tensor.strides[1], tensor.strides[0]],
    }
  }

  /** Rows of `name` cut into equal parts: in_proj_weight (3 * width, width) as query, key and value. */
  takeParts(canonical: string[], name: string, shape: (Size | number)[]): void {
    const tensor = this.checked(name, shape)
    const rows = tensor.shape[0] / canonical.length
    canonical.forEach((part, i) => {
      this.picked[part] = {
        ...tensor,
        shape: [rows, ...tensor.shape.slice(1)],
        offset: tensor.offset + i * rows * tensor.strides[0] * ITEM_BYTES[tensor.dtype],
      }
    })
  }

  checked(name: string, shape: (Size | number)[]): TensorView {
    const tensor = this.find(name)
    const file = this.table.pathOf(tensor)
    const expected = shapeText(shape.map(s => (typeof s === 'number' ? s : s.n)))
    const actual = shapeText(tensor.shape)
    if (!WEIGHTS.has(tensor.dtype))
      throw badCheckpoint(
        file,
        name,
        `tensor ${quote(name)} has dtype ${tensor.dtype}; weights are F32, F16 or BF16 (F64 is rounded to F32)`,
        { expected: 'F32, F16, BF16 or F64', actual: tensor.dtype },
      )
    if (expected !== actual) {
      const axis =
        tensor.shape.length === shape.length
          ? shape.findIndex((s, i) => (typeof s === 'number' ? s : s.n) !== tensor.shape[i])
          : -1
      const culprit =
        axis >= 0 ? shape[axis] : shape.find((s): s is Size => typeof s !== 'number' && !!s.config)
      const size = typeof culprit === 'number' ? undefined : culprit
      const why = size ? ` (${size.n}: ${size.from})` : ''
      const message = `expected tensor ${quote(name)} to have shape ${expected}${why}, got ${actual}`
      if (size?.config)
        throw badConfig(size.config.file, size.config.field, `${message} in ${basename(file)}`, {
          expected,
          actual,
        })
      throw badCheckpoint(file, name, message, { expected, actual })
    }
    return tensor as TensorView
  }

  /** Marks tensors that have no effect as used. */
  ignore(pattern: RegExp): void {
    for (const name of this.table.tensors.keys()) if (pattern.test(name)) this.used.add(name)
  }

  /**
   * Refuses unused tensors of a tower, because part of the model would then not be computed. Other unused tensors (such as the
   * head of a classifier) are ignored and listed.
   */
  finish(isTowers: (name: string) => boolean): void {
    const ignored: string[] = []
    for (const [name, tensor] of this.table.tensors) {
      if (this.used.has(name)) continue
      if (isTowers(name))
        throw badCheckpoint(
          this.table.pathOf(tensor),
          tensor.name,
          `tensor ${quote(tensor.name)} ${shapeText(tensor.shape)} belongs to no part of CLIP that is implemented here${/lora_|\.base_layer\./.test(name) ? '. It is an adapter (LoRA): merge it into the weights in Python (`model.merge_and_unload()`) and save the model again' : ''}`,
        )
      ignored.push(tensor.name)
    }
    this.table.ignore(ignored)
  }
}

/** The same tensor with its dimensions in another order. */
export const permuted = (tensor: TensorView, order: readonly number[]): TensorView => ({
  ...tensor,
  shape: order.map(axis => tensor.shape[axis]!),
  strides: order.map(axis => tensor.strides[axis]!),
})

/** Position embeddings of a class token and a square of patches: how many there are, and how many patches a side has. */
export function squareOf(picker: Picker, tensor: string): { positions: Size; grid: number } {
  const positions = picker.size(tensor, 0, 2)
  const grid = Math.sqrt(positions.n - 1)
  if (!Number.isInteger(grid) || grid < 1)
    throw badCheckpoint(
      picker.table.where,
      tensor,
      `tensor "${tensor}" has ${positions.n} positions, which is not 1 + a square`,
    )
  return { positions, grid }
}

/** The value of a tensor with one element. */
export async function readScalar(table: TensorTable, name: string): Promise<number> {
  const tensor = table.tensors.get(name)
  if (!tensor) throw badCheckpoint(table.where, name, `tensor ${quote(name)} is missing`)
  const file = table.files[tensor.file]
  if (tensor.shape.some(n => n !== 1) || tensor.shape.length > 1)
    throw badCheckpoint(
      file.path,
      name,
      `expected tensor ${quote(name)} to be one number, got ${shapeText(tensor.shape)}`,
      {
        actual: shapeText(tensor.shape),
      },
    )
  const bytes = await file.read(tensor.offset, ITEM_BYTES[tensor.dtype])
  switch (tensor.dtype) {
    case 'F32':
    case 'BF16':
    case 'F16':
    case 'F64':
      return weightAt(bytes, tensor.dtype, 0)
    case 'I32':
      return bytes.readInt32LE(0)
    case 'I64':
      return Number(bytes.readBigInt64LE(0))
    default:
      throw badCheckpoint(file.path, name, `tensor ${quote(name)} has dtype ${tensor.dtype}`, {
        actual: tensor.dtype,
      })
  }
}

/** Element i of the bytes of a weight. */
export function weightAt(bytes: Buffer, dtype: TensorView['dtype'], i: number): number {
  if (dtype === 'F64') return bytes.readDoubleLE(8 * i)
  if (dtype === 'F32') return bytes.readFloatLE(4 * i)
  const bits = bytes.readUInt16LE(2 * i)
  return dtype === 'F16' ? halfToNumber(bits) : new Float32Array(new Uint32Array([bits << 16]).buffer)[0]
}

function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
}

/**
 * exp of the stored `logit_scale`, which every family stores as a logarithm. A model that was trained for another purpose may
 * lack it; only probabilities and logits need it.
 */
export async function readLogitScale(picker: Picker): Promise<number | undefined> {
  const name = 'logit_scale'
  if (!picker.has(name)) return undefined
  const tensor = picker.find(name)
  const file = picker.table.pathOf(tensor)
  if (!WEIGHTS.has(tensor.dtype))
    throw badCheckpoint(file, name, `tensor "logit_scale" has dtype ${tensor.dtype}`, {
      actual: tensor.dtype,
    })
  const stored = await readScalar(picker.table, name)
  const scale = Math.exp(stored)
  // 1e6 is 10 000 times the maximum in training (100).
  if (!(scale > 0 && scale < 1e6))
    throw badCheckpoint(
      file,
      name,
      `tensor "logit_scale" is ${stored}; expected the logarithm of a finite positive number`,
      {
        actual: String(stored),
      },
    )
  return scale
}

/** The stored `logit_bias`, which models with sigmoid scores have. */
export async function readLogitBias(picker: Picker): Promise<number | undefined> {
  const name = 'logit_bias'
  if (!picker.has(name)) return undefined
  const tensor = picker.find(name)
  if (!WEIGHTS.has(tensor.dtype))
    throw badCheckpoint(picker.table.pathOf(tensor), name, `tensor "logit_bias" has dtype ${tensor.dtype}`, {
      actual: tensor.dtype,
    })
  const stored = await readScalar(picker.table, name)
  if (!(Math.abs(stored) < 1e6))
    throw badCheckpoint(
      picker.table.pathOf(tensor),
      name,
      `tensor "logit_bias" is ${stored}; expected a finite number`,
      { actual: String(stored) },
    )
  return stored
}

/**
 * The rule of scores of a checkpoint: the sigmoid for models that were trained with a bias (`logit_bias`, or according to the
 * configuration), otherwise the softmax; undefined without `logit_scale`.
 */
export async function readScoring(picker: Picker, sigmoid: boolean): Promise<Scoring | undefined> {
  const scale = await readLogitScale(picker)
  const bias = await readLogitBias(picker)
  if (scale === undefined) return undefined
  return { kind: sigmoid || bias !== undefined ? 'sigmoid' : 'softmax', scale, bias: bias ?? 0 }
}
