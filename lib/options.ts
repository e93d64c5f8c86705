/** Checks of what callers pass: one sentence shape, misspelt names included. Every failure is a TypeError or RangeError. */

import { fileURLToPath } from 'node:url'
import { argumentError } from './errors.js'

/** Number of single-character edits between two words; what "did you mean" is made of. */
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

/** An options object with only these names in it; undefined is an empty one. */
export function checkOptions<T extends object>(
  value: T | undefined,
  names: readonly string[],
  field = 'options',
): Partial<T> {
  if (value === undefined) return {}
  if (value === null || typeof value !== 'object' || Array.isArray(value) || ArrayBuffer.isView(value))
    throw argumentError(field, 'be an object', value)
  for (const key of Object.keys(value)) {
    if (names.includes(key)) continue
    const near = suggestion(key, names)
    const expected = near
      ? `have known names (did you mean \`${near}\`?)`
      : `have known names (${names.join(', ')})`
    throw argumentError(field, expected, `=\`${key}\``)
  }
  return value
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

/** A usable signal; one that is already aborted throws its reason, before any work. */
export function checkSignal(value: AbortSignal | undefined, field = 'signal'): AbortSignal | undefined {
  if (value === undefined) return undefined
  if (value === null || typeof value !== 'object' || typeof value.throwIfAborted !== 'function')
    throw argumentError(field, 'be an AbortSignal', value)
  value.throwIfAborted()
  return value
}

/** The path of a file that a caller names by a path or a file: URL. */
export function pathOf(field: string, file: unknown): string {
  let path = file
  try {
    if (file instanceof URL && file.protocol === 'file:') path = fileURLToPath(file)
  } catch {
    throw argumentError(field, 'be a path or a file: URL of this machine', (file as URL).href)
  }
  if (typeof path !== 'string' || path === '')
    throw argumentError(field, 'be a path or a file: URL', file instanceof URL ? file.href : file)
  if (path.includes('\0')) throw argumentError(field, 'be a path without NUL characters', path)
  return path
}
