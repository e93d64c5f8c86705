/**
 * Regular expressions on texts of any length, some hundred characters at a time, so that the event loop can turn in
 * between. What comes out is what the expression would make of the whole text.
 */

import type { Steps } from '../base/slices.js'

/** Characters (UTF-16) that are worked on between two pauses. */
export const piece = 1024

/** `at`, or one more where it would part a line break, or the two halves of a character beyond U+FFFF. */
export function afterPair(text: string, at: number): number {
  const right = text.charCodeAt(at)
  const left = text.charCodeAt(at - 1)
  return ((right & 0xfc00) === 0xdc00 && (left & 0xfc00) === 0xd800) || (right === 0x0a && left === 0x0d)
    ? at + 1
    : at
}

/** A text put together from many parts: joined some at a time, so that the engine never has to join all at once. */
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

/** The string as one block: the engine may keep it as a tree of the parts that a replacement has put together. */
export function flat(text: string): string {
  text.charCodeAt(0)
  return text
}

/** f(text), for what f makes of each character whatever stands beside it. */
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

/** Whether every piece passes: for `^[...]*$`. */
export function* everyPiece(text: string, pattern: RegExp): Steps<boolean> {
  if (text.length <= piece) return pattern.test(text)
  for (let from = 0; from < text.length; from += piece) {
    if (!pattern.test(text.slice(from, from + piece))) return false
    yield
  }
  return true
}

/** Whether `pattern`, of one character, occurs. */
export function* somePiece(text: string, pattern: RegExp): Steps<boolean> {
  for (let from = 0; from < text.length; from += piece) {
    if (pattern.test(text.slice(from, from + piece))) return true
    if (text.length > piece) yield
  }
  return false
}

/**
 * text.replace(pattern, by) for a global pattern that looks at no more than `reach` characters from where a match
 * begins, and at none before.
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
