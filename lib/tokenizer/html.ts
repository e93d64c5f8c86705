/** HTML references: Python's html.unescape, which OpenAI's cleaning calls twice, and ftfy's stricter reading. */

import type { Steps } from '../slices.js'
import {
  entities,
  invalidReferences,
  openEntities,
  upperEntities,
  vanishing,
} from './text-tables.generated.js'

/** Names as html.unescape knows them: with the semicolon, and a hundred without. */
const named = new Map<string, string>()
/** Names as ftfy knows them, without & and semicolon. */
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

// {1,32} counts code points, hence the u flag.
const reference = /&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu

function replaceReference(whole: string, body: string): string {
  if (body[0] === '#') {
    const digits = body.endsWith(';') ? body.slice(1, -1) : body.slice(1)
    const code = /^[xX]/.test(digits) ? Number.parseInt(digits.slice(1), 16) : Number.parseInt(digits, 10)
    const replaced = invalid.get(code)
    if (replaced !== undefined) return replaced
    if (!(code <= 0x10ffff) || (code >= 0xd800 && code <= 0xdfff)) return '\ufffd'
    return vanished.has(code) ? '' : String.fromCodePoint(code)
  }
  const exact = named.get(body)
  if (exact !== undefined) return exact
  for (let length = body.length - 1; length > 1; length--) {
    const value = named.get(body.slice(0, length))
    if (value !== undefined) return value + body.slice(length)
  }
  return whole
}

/** Python's html.unescape(text). */
export function unescapeHtml(text: string): string {
  return text.includes('&') ? text.replace(reference, replaceReference) : text
}

const strictReference = /&(#?[0-9A-Za-z]{1,24});/g

/** ftfy's unescape_html: only references that end in a semicolon, upper-case names as well. */
export function unescapeStrict(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(strictReference, (whole: string, body: string) => {
    const value = ftfyNamed.get(body)
    if (value !== undefined) return value
    if (body[0] !== '#') return whole
    const unescaped = unescapeHtml(whole)
    return unescaped.includes(';') ? whole : unescaped
  })
}
