/**
 * NFC in steps and in linear time: the engine's normalize() sorts a long run of combining marks by insertion, which takes
 * quadratic time.
 */

import type { Steps } from '../base/slices.js'
import { Joined, piece } from './pieces.js'

/**
 * Characters that may combine with a character before them: all marks, the vowels and final consonants of Hangul, and the
 * vowel signs of Kirat Rai, which are letters in Unicode.
 */
export const combines = /^[\p{M}\u1160-\u11ff\u{16d63}-\u{16d6a}]/u

/** Whether the text can be split at `at`, because nothing before it can combine with the characters after it. */
function begins(text: string, at: number): boolean {
  const code = text.charCodeAt(at)
  if (code < 0x300) return true
  if ((code & 0xfc00) === 0xdc00) return false
  return !combines.test(text.slice(at, at + 2))
}

/** text.normalize('NFC'). */
export function* normalizeNfc(text: string): Steps<string> {
  if (text.length <= piece) return text.normalize('NFC')
  let out = ''
  for (let from = 0; from < text.length; ) {
    let to = Math.min(from + piece, text.length)
    if (to < text.length) {
      while (to > from && !begins(text, to)) to--
      if (to === from) {
        to = from + piece
        while (to < text.length && !begins(text, to)) if (++to % piece === 0) yield
      }
    }
    const part = text.slice(from, to)
    out += to - from <= piece ? part.normalize('NFC') : yield* composeRun(part)
    from = to
    yield
  }
  return out
}

/** Combining marks of one canonical combining class. */
interface MarkClass {
  mark: string
}

/** The classes of the marks seen so far, in canonical order; JavaScript can't query the number of a class. */
const classes: MarkClass[] = []
const classOf = new Map<string, MarkClass | null>()

/** Whether canonical ordering puts b before a. */
const swaps = (a: string, b: string): boolean => (a + b).normalize('NFD') !== a + b

/** The class of a fully decomposed character; null for class 0. */
function* markClass(char: string): Steps<MarkClass | null> {
  const known = classOf.get(char)
  if (known !== undefined) return known
  if (!combines.test(char)) return null
  yield
  let found: MarkClass | null = null
  // U+0301 is of class 230 and U+0334 of class 1, the least.
  if (swaps('\u0301', char) || swaps(char, '\u0334')) {
    let at = 0
    while (at < classes.length && swaps(char, classes[at]!.mark)) at++
    const same = classes[at]
    if (same && !swaps(same.mark, char)) found = same
    else {
      found = { mark: char }
      classes.splice(at, 0, found)
    }
  }
  classOf.set(char, found)
  return found
}

/** Maximum number of marks of a class that are tried with a character; no character combines with more than three. */
const tried = 64
/** Characters joined at a time. */
const together = 256

/** The marks of a class, in order: those that are tried, and any number of others. */
interface Marks {
  first: string[]
  others: Joined
}

/** NFC of a run of any length in which each character may combine with one before. */
function* composeRun(text: string): Steps<string> {
  let out = ''
  // Characters with which the next one may still combine.
  let open = ''
  let starter = ''
  let marks = new Map<MarkClass, Marks>()
  let markCount = 0
  const close = function* (): Steps<void> {
    if (markCount <= tried) {
      open += starter
      if (markCount > 0) for (const one of classes) open += (marks.get(one)?.first ?? []).join('')
    } else {
      // There are more marks than can combine, so nothing after them can combine with the characters before them.
      let composed = starter
      let rest = ''
      if (open !== '' && starter !== '') {
        composed = (open + starter).normalize('NFC')
        const last = [...composed].at(-1)!
        out += composed.slice(0, composed.length - last.length)
        composed = last
      } else out += open.normalize('NFC')
      open = ''
      for (const one of classes) {
        const all = marks.get(one)
        if (!all) continue
        const head = (composed + all.first.join('')).normalize('NFC')
        const taken = starter === '' ? 0 : String.fromCodePoint(head.codePointAt(0)!).length
        composed = head.slice(0, taken)
        rest += head.slice(taken) + all.others.end()
        yield
      }
      out += composed + rest
    }
    marks = new Map()
    markCount = 0
  }
  let work = 0
  for (let from = 0; from < text.length; ) {
    let to = Math.min(from + together, text.length)
    if ((text.charCodeAt(to) & 0xfc00) === 0xdc00) to++
    for (const char of text.slice(from, to).normalize('NFD')) {
      if (++work % 128 === 0) yield
      const one = yield* markClass(char)
      if (one) {
        const all = marks.get(one)
        if (!all) marks.set(one, { first: [char], others: new Joined() })
        else if (all.first.length < tried) all.first.push(char)
        else all.others.add(char)
        markCount++
        continue
      }
      yield* close()
      starter = char
      if (open.length >= together) {
        const composed = open.normalize('NFC')
        if ((open + char).normalize('NFC') === composed + char) {
          out += composed
          open = ''
        }
      }
    }
    from = to
  }
  yield* close()
  return out + open.normalize('NFC')
}
