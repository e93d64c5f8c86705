/** HTML references: Python's html.unescape, which OpenAI's cleaning calls twice, and ftfy's stricter reading. */

import type { Steps } from '../base/slices.js'
import { Joined, piece, replacePieces } from './pieces.js'
import {
  entities,
  invalidReferences,
  openEntities,
  upperEntities,
  vanishing,
} from './text-tables.generated.js'

/** Names that html.unescape accepts: all with a semicolon, and about a hundred without. */
const named = new Map<string, string>()
/** Names that ftfy accepts, without & and semicolon. */
const ftfyNamed = new Map<string, string>()
const invalid = new Map<number, string>()
const vanished = new Set<number>()
const perStep = 64

const fromHexes = (hexes: string): string =>
  String.fromCodePoint(...hexes.split('+').map(hex => Number.parseInt(hex, 16)))

/** Fills the tables, once. */
export function* prepareEntities(): Steps<void> {
  if (vanished.size > 0) return
  let work = 0
  for (const [source, isUpper] of [
    [entities, false],
    [upperEntities, true],
  ] as const) {
    for (let from = 0; from < source.length; ) {
      let to = source.indexOf(' ', from)
      if (to < 0) to = source.length
      const colon = source.indexOf(':', from)
      const name = source.slice(from, colon)
      const value = fromHexes(source.slice(colon + 1, to))
      if (!isUpper) named.set(`${name};`, value)
      ftfyNamed.set(name, value)
      from = to + 1
      if (++work % perStep === 0) yield
    }
  }
  for (const name of openEntities.split(' ')) named.set(name, named.get(`${name};`)!)
  for (const entry of invalidReferences.split(' ')) {
    const [code, value] = entry.split(':') as [string, string]
    invalid.set(Number.parseInt(code, 16), fromHexes(value))
  }
  yield
  for (const code of vanishing.split(' ')) vanished.add(Number.parseInt(code, 16))
}

/** Digits of a number that are read at once; longer numbers are read in steps. */
const digitsAtOnce = 64
// {1,32} counts code points, hence the u flag.
const reference = /&(#[0-9]{1,64};?|#[xX][0-9a-fA-F]{1,64};?|[^\t\n\f <&#;]{1,32};?)/uy
/** Maximum number of characters from the beginning of a match to the last one that it depends on. */
const reach = 72

/** The text of a numeric reference. */
function fromCode(code: number): string {
  const replaced = invalid.get(code)
  if (replaced !== undefined) return replaced
  if (!(code <= 0x10ffff) || (code >= 0xd800 && code <= 0xdfff)) return '\ufffd'
  return vanished.has(code) ? '' : String.fromCodePoint(code)
}

/** The number that begins at `from`, at most 0x110000, and where it ends. */
function* longNumber(text: string, from: number, base: number): Steps<{ code: number; end: number }> {
  let code = 0
  let end = from
  for (; end < text.length; end++) {
    const digit = Number.parseInt(text[end]!, base)
    if (Number.isNaN(digit)) break
    code = Math.min(code * base + digit, 0x110000)
    if (end % piece === 0) yield
  }
  return { code, end }
}

/** The text of the numeric reference `body` (from # on) at `at`, and where it ends. */
function* readNumeric(text: string, at: number, body: string): Steps<{ value: string; end: number }> {
  const hex = /^#[xX]/.test(body)
  const base = hex ? 16 : 10
  const from = hex ? 2 : 1
  if (body.length < from + digitsAtOnce) {
    const code = Number.parseInt(body.slice(from), base)
    return { value: fromCode(code), end: at + 1 + body.length }
  }
  const { code, end } = yield* longNumber(text, at + 1 + from, base)
  return { value: fromCode(code), end: text[end] === ';' ? end + 1 : end }
}

function replaceNamed(whole: string, body: string): string {
  const exact = named.get(body)
  if (exact !== undefined) return exact
  for (let length = body.length - 1; length > 1; length--) {
    const value = named.get(body.slice(0, length))
    if (value !== undefined) return value + body.slice(length)
  }
  return whole
}

/** Python's html.unescape(text). */
export function* unescapeHtml(text: string): Steps<string> {
  let at = text.indexOf('&')
  if (at < 0) return text
  const out = new Joined()
  let done = 0
  let work = 0
  for (; at >= 0; at = text.indexOf('&', Math.max(at + 1, done))) {
    reference.lastIndex = 0
    const match = reference.exec(text.slice(at, at + reach))
    if (++work % 64 === 0) yield
    if (!match) continue
    const body = match[1]!
    let value: string
    let end = at + match[0].length
    if (body[0] === '#') ({ value, end } = yield* readNumeric(text, at, body))
    else value = replaceNamed(match[0], body)
    out.add(text.slice(done, at))
    out.add(value)
    done = end
  }
  return out.end(text.slice(done))
}

const strictReference = /&(#?[0-9A-Za-z]{1,24});/g
/** Length of the longest strict reference. */
export const strictLength = 27

/** The text of a strict reference (passed without & and semicolon); undefined if it is not one. */
export function strictValue(body: string): string | undefined {
  const value = ftfyNamed.get(body)
  if (value !== undefined) return value
  if (body[0] !== '#') return undefined
  // html.unescape would read the valid digits and keep the rest with its semicolon, so ftfy changes nothing.
  const digits = /^#(?:[0-9]+|[xX][0-9a-fA-F]+)$/.exec(body)
  if (!digits) return undefined
  const hex = body[1] === 'x' || body[1] === 'X'
  const unescaped = fromCode(Number.parseInt(body.slice(hex ? 2 : 1), hex ? 16 : 10))
  return unescaped === ';' ? undefined : unescaped
}

/** ftfy's unescape_html: only references that end in a semicolon, upper-case names as well. */
export function* unescapeStrict(text: string): Steps<string> {
  if (!text.includes('&')) return text
  return yield* replacePieces(
    text,
    strictReference,
    strictLength,
    (whole, body) => strictValue(body) ?? whole,
  )
}
