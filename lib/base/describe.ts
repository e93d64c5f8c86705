/** Describes values of callers and files for error messages. Descriptions are short and printable, and making them never throws. */

import { types } from 'node:util'
import { isArray } from './values.js'

/** Maximum number of characters of one value in an error. */
export const MOST = 120

/** Characters that move a terminal's cursor, end a line or change the direction of writing. */
const unprintable =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

const escapes: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/**
 * A text that is safe on one line of a terminal: control characters, line ends, direction marks and lone surrogates are
 * escaped.
 */
export function printable(text: string): string {
  return text.replace(
    unprintable,
    character => escapes[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Shortens a text to at most `most` characters, keeping its beginning and its end, because paths differ at their ends. */
export function shorten(text: string, most = MOST): string {
  if (text.length <= most) return text
  const end = Math.floor((most - 1) / 2)
  return `${text.slice(0, most - 1 - end)}…${text.slice(text.length - end)}`
}

/** The beginning of a text, escaped and in quotation marks. */
export function quote(text: string, most = 60): string {
  const short = text.length > most ? `${text.slice(0, most - 3)}...` : text
  const escaped = printable(JSON.stringify(short))
  // An escape sequence takes up to six characters.
  return escaped.length > MOST ? `${escaped.slice(0, MOST - 4)}..."` : escaped
}

/** Words for the actual value in an error message, which are printed unchanged. */
class Words {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }
  /** The words if `value` is an instance of this class, otherwise undefined. Only this class can create its private field. */
  static of(value: unknown): string | undefined {
    return typeof value === 'object' && value !== null && #text in value ? value.#text : undefined
  }
}
/** The actual value in an error message: `Words` are printed unchanged, any other value is described. */
export const wordsFor = (actual: unknown): string => Words.of(actual) ?? describe(actual)

/** Words that replace the description of the actual value: `got('none')`. */
export const got = (text: string | number): Words => new Words(shorten(printable(String(text))))

const typedArray = Object.getPrototypeOf(Uint8Array.prototype)
const intrinsic = (name: string | symbol) =>
  Object.getOwnPropertyDescriptor(typedArray, name)!.get as (this: unknown) => unknown
const nameOfTypedArray = intrinsic(Symbol.toStringTag)
const lengthOfTypedArray = intrinsic('length')

/** The class name of an object, found without calling a getter or a proxy trap. */
function className(value: object): string | undefined {
  for (let at: object | null = value, depth = 0; at && depth < 4; at = Object.getPrototypeOf(at), depth++) {
    if (types.isProxy(at)) return undefined
    const made = Object.getOwnPropertyDescriptor(at, 'constructor')?.value
    if (typeof made !== 'function' || types.isProxy(made)) continue
    const name = Object.getOwnPropertyDescriptor(made, 'name')?.value
    return typeof name === 'string' && name !== '' && name !== 'Object' ? name : undefined
  }
  return undefined
}

/** Describes what a caller passed, in a few words for the end of a sentence: `"abc"`, `3`, `an array of 4`, `null`. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return quote(value)
    case 'bigint':
      return shorten(String(value), 60)
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value)
    case 'function':
      return 'a function'
    case 'symbol':
      return 'a symbol'
  }
  if (value === null) return 'null'
  if (types.isProxy(value)) return 'a Proxy'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (types.isTypedArray(value))
    return `a ${nameOfTypedArray.call(value)} of ${lengthOfTypedArray.call(value)}`
  if (types.isAnyArrayBuffer(value))
    return types.isArrayBuffer(value) ? 'an ArrayBuffer' : 'a SharedArrayBuffer'
  const name = className(value as object)
  return name ? `a ${quote(name, 40).slice(1, -1)}` : 'an object'
}

/** Describes a shape that a caller passed, whatever it contains: `[2, 3]`. */
export function describeShape(shape: unknown): string {
  if (!isArray(shape)) return describe(shape)
  const sizes = shape.slice(0, 8).map(size => (typeof size === 'number' ? String(size) : describe(size)))
  return shorten(`[${sizes.join(', ')}${shape.length > 8 ? ', ...' : ''}]`, 100)
}
