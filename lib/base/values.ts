/**
 * Type checks that work for values of any origin. `instanceof` fails for values of another realm (jest, vitest's vm pools,
 * `node:vm`, jsdom) and of another copy of the package; these functions look at the value itself. None of them throws.
 */

import { types } from 'node:util'

const safely = (look: () => boolean): boolean => {
  try {
    return look()
  } catch {
    return false // a revoked Proxy, a getter that throws
  }
}

/** Whether a value is an array: false, not an error, for a revoked Proxy of one. */
export const isArray = (value: unknown): value is readonly unknown[] => safely(() => Array.isArray(value))

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null

/** Whether an object has all of these methods. */
export const has = (value: unknown, ...methods: string[]): boolean =>
  isObject(value) && safely(() => methods.every(method => typeof value[method] === 'function'))

/** Whether an object has a property, own or inherited. */
export const holds = (value: object, name: PropertyKey): boolean => safely(() => name in value)

const tagged = (value: unknown, ...tags: string[]): boolean =>
  isObject(value) && safely(() => tags.includes(Object.prototype.toString.call(value).slice(8, -1)))

/** Whether a value is a URL, jsdom's own class included. */
export const isUrl = (value: unknown): value is URL =>
  tagged(value, 'URL') &&
  safely(() => typeof (value as URL).href === 'string' && typeof (value as URL).protocol === 'string')

/** Whether a value is a Blob or File whose bytes can be read. */
export const isBlob = (value: unknown): value is Blob =>
  tagged(value, 'Blob', 'File') && has(value, 'arrayBuffer') && safely(() => (value as Blob).size >= 0)

/** Whether a value is an AbortSignal, or behaves like one. */
export const isSignal = (value: unknown): value is AbortSignal =>
  has(value, 'throwIfAborted', 'addEventListener', 'removeEventListener') &&
  safely(() => typeof (value as AbortSignal).aborted === 'boolean')

/** Whether a value can be iterated with `for` or `for await`. */
export const isIterable = (value: unknown): value is Iterable<unknown> | AsyncIterable<unknown> =>
  isObject(value) &&
  safely(
    () =>
      typeof value[Symbol.asyncIterator as never] === 'function' ||
      typeof value[Symbol.iterator as never] === 'function',
  )

export const {
  isProxy,
  isTypedArray,
  isUint8Array,
  isUint8ClampedArray,
  isFloat32Array,
  isInt32Array,
  isInt8Array,
  isUint16Array,
} = types
export const isArrayBuffer = types.isAnyArrayBuffer
