/** Checks the arguments of kernels. An invalid one is a TypeError or RangeError with the code ERR_CLIP_INPUT. */

import { allocate } from '../base/allocate.js'
import type { FloatDtype, RowDtype } from '../base/dtypes.js'
import { argumentError, got } from '../base/errors.js'
import {
  isFloat32Array,
  isInt8Array,
  isObject,
  isUint8Array,
  isUint8ClampedArray,
  isUint16Array,
} from '../base/values.js'

/** The factors of an array's length, each with a description of what it counts. */
export type Shape = [size: number, of: string][]

export const elements = (shape: Shape): number => shape.reduce((n, [size]) => n * size, 1)

const spelt = (shape: Shape): string =>
  shape.length < 2 ? '' : ` (${shape.map(([size, of]) => (of ? `${size} ${of}` : size)).join(' x ')})`

/** The arguments of a kernel, each property read once. */
export function object<T extends object>(a: T): T {
  if (!isObject(a)) throw argumentError('arguments[0]', 'be an object', a)
  const read: Record<string, unknown> = {}
  try {
    for (const name in a) read[name] = a[name]
    Object.keys(a)
  } catch {
    throw argumentError('arguments[0]', 'have properties that can be read', a)
  }
  return read as T
}

export function number(field: string, value: unknown): number {
  if (typeof value !== 'number') throw argumentError(field, 'be a number', value)
  if (!Number.isFinite(value)) throw argumentError(field, 'be finite', value, 'range')
  return value
}

export function count(field: string, value: unknown, most = 2147483647): number {
  if (typeof value !== 'number') throw argumentError(field, 'be an integer', value)
  if (!(Number.isInteger(value) && value >= 1 && value <= most))
    throw argumentError(field, `be an integer from 1 to ${most}`, value, 'range')
  return value
}

export function word<T extends string>(field: string, value: T, words: readonly T[]): T {
  if (!words.includes(value))
    throw argumentError(field, `be one of ${words.map(w => `'${w}'`).join(', ')}`, value)
  return value
}

/** Whether the memory of an array has been transferred. */
function isDetached(array: ArrayLike<number>): boolean {
  try {
    new Uint8Array((array as Uint8Array).buffer)
    return false
  } catch {
    return true
  }
}

export function sized(field: string, array: ArrayLike<number>, shape: Shape, unit: string): void {
  const expected = elements(shape)
  if (array.length === 0 && expected > 0 && isDetached(array))
    throw argumentError(
      field,
      `have ${expected} ${unit}${spelt(shape)}`,
      got('an array that was transferred'),
    )
  if (array.length !== expected)
    throw argumentError(field, `have ${expected} ${unit}${spelt(shape)}`, array.length, 'range')
}

export function floats(field: string, value: unknown, shape: Shape): Float32Array {
  if (!isFloat32Array(value)) throw argumentError(field, 'be a Float32Array', value)
  sized(field, value, shape, 'floats')
  return value
}

export function bytes(field: string, value: unknown, shape: Shape): Uint8Array {
  if (!(isUint8Array(value) || isUint8ClampedArray(value)))
    throw argumentError(field, 'be a Uint8Array', value)
  sized(field, value, shape, 'bytes')
  return new Uint8Array(value.buffer, value.byteOffset, value.length)
}

export type Numbers = Float32Array | Uint16Array | Int8Array
const arrays = { float32: Float32Array, bfloat16: Uint16Array, int8: Int8Array } as const
const is = { float32: isFloat32Array, bfloat16: isUint16Array, int8: isInt8Array } as const

/** An array of one of several dtypes, which its class determines. */
export function numbers(
  field: string,
  value: unknown,
  shape: Shape,
  dtypes: readonly RowDtype[],
): { array: Numbers; dtype: RowDtype } {
  const dtype = dtypes.find(d => is[d](value))
  if (!dtype) {
    const kinds = dtypes.map(d => (d === 'float32' ? 'a Float32Array' : `a ${arrays[d].name} of ${d}`))
    throw argumentError(field, `be ${kinds.join(' or ')}`, value)
  }
  sized(field, value as Numbers, shape, dtype === 'float32' ? 'floats' : 'numbers')
  return { array: value as Numbers, dtype }
}

/** The dtype of the caller's output array. */
export function outputDtype(field: string, value: unknown): FloatDtype {
  if (value === undefined || isFloat32Array(value)) return 'float32'
  if (isUint16Array(value)) return 'bfloat16'
  throw argumentError(field, 'be a Float32Array or a Uint16Array of bfloat16', value)
}

/** The caller's array of that dtype, or a new one. */
export function outputLike(
  field: string,
  value: unknown,
  dtype: FloatDtype,
  shape: Shape,
  inputs: Record<string, ArrayBufferView | undefined>,
): Float32Array | Uint16Array {
  if (value === undefined) {
    room(field, elements(shape) * arrays[dtype].BYTES_PER_ELEMENT)
    return allocate<Float32Array | Uint16Array>(arrays[dtype], field, ...shape.map(([size]) => size))
  }
  const { array } = numbers(field, value, shape, [dtype])
  apart(field, array, inputs)
  return array as Float32Array | Uint16Array
}

/** The caller's array, or a new one. */
export function output(
  field: string,
  value: unknown,
  shape: Shape,
  inputs: Record<string, ArrayBufferView | undefined>,
): Float32Array {
  if (value === undefined) {
    room(field, elements(shape) * 4)
    return allocate(Float32Array, field, ...shape.map(([size]) => size))
  }
  const out = floats(field, value, shape)
  apart(field, out, inputs)
  return out
}

/** Throws if an array needs more bytes than an ArrayBuffer may have in every supported version of Node. */
export function room(field: string, size: number): void {
  if (size > 2 ** 32) throw argumentError(field, `need at most ${2 ** 32} bytes`, size, 'range')
}

export function apart(
  field: string,
  out: ArrayBufferView,
  inputs: Record<string, ArrayBufferView | undefined>,
): void {
  for (const [name, input] of Object.entries(inputs))
    if (
      input &&
      input.buffer === out.buffer &&
      input.byteOffset < out.byteOffset + out.byteLength &&
      out.byteOffset < input.byteOffset + input.byteLength
    )
      throw argumentError(field, `share no memory with \`${name}\``, got('an array that does'))
}
