/**
 * A JSON parser that works in steps: JSON.parse of a vocabulary of 49408 pieces holds the thread for many
 * milliseconds. Objects have no prototype, so a key "__proto__" is a key like any other.
 */

import type { Steps } from './slices.js'

/** Deeper nesting is refused: no vocabulary nests deeper than a few levels. */
const maxDepth = 64
/** Values per step. */
const perStep = 128
/**
 * What a file may hold: a small one could otherwise become any number of objects. CLIP's own tokenizer.json has 49 408
 * keys and 196 000 values, 49 000 of them arrays when its merges are pairs.
 */
const maxValues = 500_000
const maxArrays = 200_000
const maxObjects = 10_000
const maxString = 1 << 18

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them in strings
const plainString = /"([^"\\\u0000-\u001f]*)"/y
const literal = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null/y
const blank = /[ \t\n\r]*/y

/** Parses a whole text; a SyntaxError names the offset. Keys, values, arrays and objects are limited in number. */
export function* parseJson(text: string): Steps<unknown> {
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0
  let work = 0

  const skip = (): void => {
    const code = text.charCodeAt(at)
    if (code > 0x20) return
    blank.lastIndex = at
    blank.test(text)
    at = blank.lastIndex
  }
  const fail = (expected: string): never => {
    const found = at < text.length ? JSON.stringify(text.slice(at, at + 20)) : 'the end'
    throw new SyntaxError(`expected ${expected} at offset ${at}, got ${found}`)
  }
  const string = (): string => {
    plainString.lastIndex = at
    const plain = plainString.exec(text)
    if (plain) {
      at = plainString.lastIndex
      return plain[1]!
    }
    // Char by char: a regular expression with an alternative per character runs out of stack.
    if (text[at] !== '"') return fail('a string')
    const limit = at + 1 + maxString
    let end = at + 1
    while (end < limit && end < text.length && text.charCodeAt(end) !== 0x22)
      end += text.charCodeAt(end) === 0x5c ? 2 : 1
    if (end >= limit) fail(`a string of at most ${maxString} characters`)
    if (end >= text.length) return fail('a string')
    try {
      const escaped = JSON.parse(text.slice(at, end + 1)) as string
      at = end + 1
      return escaped
    } catch {
      return fail('a string')
    }
  }
  let values = 0
  let arrays = 0
  let objects = 0
  const count = (): void => {
    if (++values > maxValues) fail(`at most ${maxValues} keys and values`)
  }

  function* value(depth: number): Steps<unknown> {
    if (depth > maxDepth) fail(`at most ${maxDepth} levels`)
    skip()
    if (text[at] === '{') {
      at++
      if (++objects > maxObjects) fail(`at most ${maxObjects} objects`)
      const object: Record<string, unknown> = Object.create(null)
      for (skip(); text[at] !== '}'; ) {
        const key = string()
        count()
        count()
        skip()
        if (text[at++] !== ':') fail('":"')
        object[key] = scalar() ?? (yield* value(depth + 1))
        if (++work % perStep === 0) yield
        skip()
        if (text[at] === ',') {
          at++
          skip()
          if (text[at] !== '"') fail('a key')
        } else if (text[at] !== '}') fail('"," or "}"')
      }
      at++
      return object
    }
    if (text[at] === '[') {
      at++
      if (++arrays > maxArrays) fail(`at most ${maxArrays} arrays`)
      const array: unknown[] = []
      for (skip(); text[at] !== ']'; ) {
        count()
        array.push(scalar() ?? (yield* value(depth + 1)))
        if (++work % perStep === 0) yield
        skip()
        if (text[at] === ',') at++
        else if (text[at] !== ']') fail('"," or "]"')
      }
      at++
      return array
    }
    const found = scalar()
    if (found !== undefined) return found
    literal.lastIndex = at
    if (!literal.test(text)) fail('a value')
    const word = text.slice(at, literal.lastIndex)
    at = literal.lastIndex
    return JSON.parse(word)
  }

  /** Strings and small whole numbers without a generator; undefined for anything else. */
  const scalar = (): string | number | undefined => {
    skip()
    if (text[at] === '"') return string()
    let end = at
    let number = 0
    for (
      let code = text.charCodeAt(end);
      code >= 0x30 && code <= 0x39 && end - at < 9;
      code = text.charCodeAt(++end)
    )
      number = number * 10 + code - 0x30
    if (end === at || (text[at] === '0' && end - at > 1) || /[0-9.eE]/.test(text[end] ?? '')) return undefined
    at = end
    return number
  }

  const root = yield* value(0)
  skip()
  if (at < text.length) fail('the end')
  return root
}
