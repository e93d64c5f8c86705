/** Checks of arguments and options, including misspelled names. Every failure is a TypeError or RangeError in the same form. */

import { fileURLToPath } from 'node:url'
import { argumentError, got, quote } from './errors.js'
import { startTurn } from './slices.js'
import { isArray, isObject, isProxy, isSignal, isUrl } from './values.js'

/** Number of single-character edits between two words, for "did you mean". */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++)
      row[j] = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    previous = row
  }
  return previous[b.length]!
}

/** The name that was probably meant, or undefined when none is near. */
export function suggestion(word: string, names: readonly string[]): string | undefined {
  const lower = word.slice(0, 64).toLowerCase()
  let best: string | undefined
  let distance = Math.max(2, Math.floor(lower.length / 3)) + 1
  for (const name of names) {
    const d = editDistance(lower, name.toLowerCase())
    if (d < distance) {
      best = name
      distance = d
    }
  }
  return best
}

/** Checks that an options object has only these names; undefined counts as an empty object. */
export function checkOptions<T extends object>(
  value: T | undefined,
  names: readonly string[],
  field = 'options',
): Partial<T> {
  if (value === undefined) return {}
  if (!isObject(value) || isArray(value) || ArrayBuffer.isView(value))
    throw argumentError(field, 'be an object', value)
  const read = fields(field, value, names)
  for (const key of Object.keys(value)) {
    if (names.includes(key)) continue
    const near = suggestion(key, names)
    const expected = near
      ? `have known names (did you mean \`${near}\`?)`
      : `have known names (${names.join(', ')})`
    throw argumentError(field, expected, got(`\`${quote(key, 80).slice(1, -1)}\``))
  }
  return read
}

/** Some properties of a caller's object, each read once; undefined if it lacks one. */
export function fields<T extends object>(field: string, value: T, names: readonly string[]): Partial<T> {
  const read: Record<string, unknown> = {}
  try {
    for (const name of names) {
      const one = (value as Record<string, unknown>)[name]
      if (one !== undefined) read[name] = one
    }
    Object.keys(value)
  } catch {
    throw argumentError(field, 'have properties that can be read', value)
  }
  return read as Partial<T>
}

/** Copying more elements than this takes a noticeable part of a turn of the event loop. */
const longList = 4096
/** In a longer array, elements after the first hole are not inspected. */
const mostWithHoles = 2 ** 18

/**
 * A copy of a caller's array as it is now, so that later changes to the array, in onProgress for example, have no effect.
 * Holes become undefined, which no list may contain: a long array is copied up to the first of them only. An array that
 * can't be read is a TypeError.
 */
export function listOf(field: string, expected: string, value: unknown): unknown[] {
  if (!isArray(value)) throw argumentError(field, expected, value)
  try {
    const { length } = value
    // The time for copying a long list is part of this turn's budget.
    if (length > longList) startTurn()
    // Both calls run at the speed of memory for an array of any class and realm. For an array that consists almost only of
    // holes, concat would take a tenth of a second, whereas includes stops at the first one.
    if (!isProxy(value) && !Array.prototype.includes.call(value, undefined)) {
      const list = Array.prototype.concat.call([], value)
      if (list.length === length) return list // unless the array declares that it must not be spread
    }
    const list: unknown[] = []
    for (let i = 0; i < length; i++) {
      const one = value[i]
      list.push(one)
      if (one === undefined && length > mostWithHoles) break
    }
    return list
  } catch {
    throw argumentError(field, 'be an array that can be read', value)
  }
}

export function integer(field: string, value: unknown, least: number, most = 2 ** 31 - 1): number {
  const expected = `be an integer from ${least} to ${most}`
  if (typeof value !== 'number') throw argumentError(field, expected, value)
  if (!Number.isInteger(value) || value < least || value > most)
    throw argumentError(field, expected, value, 'range')
  return value
}

export function flag(field: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw argumentError(field, 'be true or false', value)
  return value
}

export function oneOf<const T extends string>(field: string, value: unknown, choices: readonly T[]): T {
  if (choices.includes(value as T)) return value as T
  const near = typeof value === 'string' ? suggestion(value, choices) : undefined
  const list = choices.map(c => `'${c}'`).join(', ')
  throw argumentError(field, `be one of ${list}${near ? ` (did you mean '${near}'?)` : ''}`, value)
}

export function callback<F>(field: string, value: F | undefined): F | undefined {
  if (value !== undefined && typeof value !== 'function') throw argumentError(field, 'be a function', value)
  return value
}

/** Checks a signal. Throws its reason if it is already aborted, before any work is done. */
export function checkSignal(value: AbortSignal | undefined, field = 'signal'): AbortSignal | undefined {
  if (value === undefined) return undefined
  if (!isSignal(value)) throw argumentError(field, 'be an AbortSignal', value)
  value.throwIfAborted()
  return value
}

/** The path of a file that a caller names by a path or a file: URL. */
export function pathOf(field: string, file: unknown): string {
  let path = file
  try {
    if (isUrl(file) && file.protocol === 'file:') path = fileURLToPath(file.href)
  } catch {
    throw argumentError(field, 'be a path or a file: URL of this machine', (file as URL).href)
  }
  if (typeof path !== 'string' || path === '')
    throw argumentError(field, 'be a path or a file: URL', isUrl(file) ? file.href : file)
  if (path.includes('\0')) throw argumentError(field, 'be a path without NUL characters', path)
  return path
}

/** A non-empty string, or undefined. */
export function text(field: string, value: unknown): string | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value === '' || value.includes('\0'))
    throw argumentError(field, 'be a non-empty string', value)
  return value
}
