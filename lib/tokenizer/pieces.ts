/**
 * Applies regular expressions to texts of any length, some hundred characters at a time, so that the event loop can run in
 * between. The result is the same as for the whole text at once.
 */

import type { Steps } from '../base/slices.js'

/** UTF-16 units processed between two pauses. */
export const piece = 1024

/** `at`, or one more if it would split a CRLF or a surrogate pair. */
export function afterPair(text: string, at: number): number {
  const right = text.charCodeAt(at)
  const left = text.charCodeAt(at - 1)
  return ((right & 0xfc00) === 0xdc00 && (left & 0xfc00) === 0xd800) || (right === 0x0a && left === 0x0d)
    ? at + 1
    : at
}

/** Builds a text from many parts and joins some at a time, so that the engine never has to join all of them at once. */
export class Joined {
  #parts: string[] = []
  #text = ''

  add(part: string): void {
    if (this.#parts.push(part) < 256) return
    this.#text += this.#parts.join('')
    this.#parts = []
  }

  end(part = ''): string {
    return this.#text + this.#parts.join('') + part
  }
}

/** Flattens the string: the engine may store the result of a replacement as a tree of parts. */
export function flat(text: string): string {
  text.charCodeAt(0)
  return text
}

/** f(text), for a function f that transforms each character independently of its neighbours. */
export function* mapPieces(text: string, f: (part: string) => string): Steps<string> {
  if (text.length <= piece) return f(text)
  let out = ''
  for (let from = 0; from < text.length; ) {
    const to = afterPair(text, from + piece)
    out += flat(f(text.slice(from, to)))
    from = to
    yield
  }
  return out
}

/** Whether every piece matches, for patterns such as `^[...]*$`. */
export function* everyPiece(text: string, pattern: RegExp): Steps<boolean> {
  if (text.length <= piece) return pattern.test(text)
  for (let from = 0; from < text.length; from += piece) {
    if (!pattern.test(text.slice(from, from + piece))) return false
    yield
  }
  return true
}

/** Whether `pattern`, which matches a single character, occurs. */
export function* somePiece(text: string, pattern: RegExp): Steps<boolean> {
  for (let from = 0; from < text.length; from += piece) {
    if (pattern.test(text.slice(from, from + piece))) return true
    if (text.length > piece) yield
  }
  return false
}

/**
 * text.replace(pattern, by) for a global pattern that looks at no more than `reach` characters from the start of a match, and
 * at none before it.
 */
export function* replacePieces(
  text: string,
  pattern: RegExp,
  reach: number,
  by: (whole: string, group: string) => string,
): Steps<string> {
  if (text.length <= piece) return text.replace(pattern, by)
  const out = new Joined()
  let done = 0
  for (let from = 0; from < text.length; ) {
    const to = afterPair(text, from + piece)
    const window = text.slice(from, to + reach)
    pattern.lastIndex = 0
    for (let match = pattern.exec(window); match && from + match.index < to; match = pattern.exec(window)) {
      if (done < from + match.index) out.add(text.slice(done, from + match.index))
      out.add(by(match[0], match[1]!))
      done = from + match.index + match[0].length
    }
    from = Math.max(to, done)
    yield
  }
  return out.end(text.slice(done))
}
