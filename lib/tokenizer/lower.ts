/** str.lower() of Python 3.11, in steps. */

import type { Steps } from '../base/slices.js'
import { Joined, mapPieces, piece } from './pieces.js'

const ignorable = /^\p{Case_Ignorable}$/u
/** U+0295 was still a cased letter in Unicode 14, which Python 3.11 uses. */
const cased = /^[\p{Cased}\u0295]$/u

const toLower = (part: string): string => part.toLowerCase()

/** The characters from `at` on, or those before `at` in reverse order. */
function* characters(text: string, at: number, backwards: boolean): Generator<string, void, void> {
  while (backwards ? at > 0 : at < text.length) {
    let from = backwards ? at - 1 : at
    if (backwards && from > 0 && (text.charCodeAt(from - 1) & 0xfc00) === 0xd800) from--
    const char = String.fromCodePoint(text.codePointAt(from)!)
    // A low surrogate follows the high surrogate of another character only in malformed text.
    if (backwards && from + char.length !== at) {
      yield text[at - 1]!
      at--
      continue
    }
    yield char
    at = backwards ? from : from + char.length
  }
}

/** Whether the nearest character that is not case-ignorable is cased. */
function* besideCased(
  text: string,
  at: number,
  backwards: boolean,
  /** Counts the characters of the searches for all sigmas together, because many short searches add up. */
  looked: { characters: number },
): Steps<boolean> {
  for (const char of characters(text, at, backwards)) {
    if (!ignorable.test(char)) return cased.test(char)
    if (++looked.characters % piece === 0) yield
  }
  return false
}

/**
 * Lower-cases each sigma: to the final form after a cased letter and not before one. The time is linear, because a sigma is
 * itself cased, so no search goes past the next one.
 */
function* lowerSigmas(text: string): Steps<string> {
  const out = new Joined()
  let done = 0
  let work = 0
  const looked = { characters: 0 }
  for (let at = text.indexOf('\u03a3'); at >= 0; at = text.indexOf('\u03a3', at + 1)) {
    const final =
      (yield* besideCased(text, at, true, looked)) && !(yield* besideCased(text, at + 1, false, looked))
    out.add(text.slice(done, at))
    out.add(final ? '\u03c2' : '\u03c3')
    done = at + 1
    if (++work % 128 === 0) yield
  }
  return out.end(text.slice(done))
}

export function* lower(text: string): Steps<string> {
  if (text.includes('\u03a3')) text = yield* lowerSigmas(text)
  return yield* mapPieces(text, toLower)
}
