/**
 * Nested HTML references: `&amp;amp;amp;`. ftfy decodes one level in each pass over the text, which takes quadratic time. Here
 * each pass looks only at the places that the previous one changed.
 */

import { atOnce, type Steps } from '../base/slices.js'
import { strictLength, strictValue } from './html.js'
import { longList } from './long-list.js'
import { isBad } from './mojibake.js'
import { combines } from './normalize.js'
import { piece } from './pieces.js'

const AMPERSAND = 0x26
const SEMICOLON = 0x3b
/** Longer than the reach of any pattern of the other repairs. */
const context = 12
const plain = /^[\t\n\f\x20-\x7e]*$/

/** A text as a circular linked list of UTF-16 units; position 0 is a sentinel before the first and after the last. */
class Chain {
  readonly code: Uint16Array
  readonly next: Int32Array
  readonly previous: Int32Array
  #used = 1

  /** Each replacement is at least two characters shorter and adds at most two, so twice the length is enough. */
  constructor(length: number) {
    this.code = new Uint16Array(2 * length + 8)
    this.next = longList(2 * length + 8)
    this.previous = longList(2 * length + 8)
    this.link(0, 0)
  }

  insert(code: number, left: number): number {
    const at = this.#used++
    this.code[at] = code
    this.link(at, this.next[left]!)
    this.link(left, at)
    return at
  }

  link(left: number, right: number): void {
    this.next[left] = right
    this.previous[right] = left
  }

  /** Up to `count` characters that end at `at`. */
  before(at: number, count: number): string {
    let text = ''
    for (; at !== 0 && text.length < count; at = this.previous[at]!)
      text = String.fromCharCode(this.code[at]!) + text
    return /^[\udc00-\udfff]/.test(text) ? text.slice(1) : text
  }

  /** Up to `count` characters that begin at `at`. */
  after(at: number, count: number): string {
    let text = ''
    for (; at !== 0 && text.length < count; at = this.next[at]!) text += String.fromCharCode(this.code[at]!)
    return /[\ud800-\udbff]$/.test(text) ? text.slice(0, -1) : text
  }

  *text(): Steps<string> {
    let text = ''
    let part: number[] = []
    for (let at = this.next[0]!; at !== 0; at = this.next[at]!) {
      part.push(this.code[at]!)
      if (part.length < piece) continue
      text += String.fromCharCode(...part)
      part = []
      yield
    }
    return text + String.fromCharCode(...part)
  }
}

/** A reference in the list, from & to semicolon, and its decoded text. */
interface Found {
  first: number
  last: number
  value: string
}

/** The reference that begins at `first`, if there is one. */
function read(chain: Chain, first: number): Found | undefined {
  let body = ''
  for (let at = chain.next[first]!; at !== 0 && body.length < strictLength - 2; at = chain.next[at]!) {
    const code = chain.code[at]!
    if (code === SEMICOLON) {
      const value = /^#?[0-9A-Za-z]{1,24}$/.test(body) ? strictValue(body) : undefined
      return value === undefined ? undefined : { first, last: at, value }
    }
    if (code === AMPERSAND || code > 0x7a) return undefined
    body += String.fromCharCode(code)
  }
  return undefined
}

/** The replacement of a reference: `left` is the position before it, `right` the one after it. */
interface Replaced extends Found {
  left: number
  right: number
}

function replace(chain: Chain, found: Found): Replaced {
  const left = chain.previous[found.first]!
  const right = chain.next[found.last]!
  chain.link(left, right)
  let end = left
  for (let i = 0; i < found.value.length; i++) end = chain.insert(found.value.charCodeAt(i), end)
  return { ...found, left, right }
}

function undo(chain: Chain, { first, last, left, right }: Replaced): void {
  chain.link(left, first)
  chain.link(last, right)
}

/** Whether the other repairs change nothing around a replacement, in a text that they did not change before. */
function leavesRest(
  chain: Chain,
  { left, right, value }: Replaced,
  bad: boolean,
  repair: (text: string) => Steps<string>,
): boolean {
  const before = chain.before(left, context)
  const after = chain.after(right, context)
  const window = before + value + after
  if (plain.test(window)) return true
  if (bad || combines.test(after) || [...value].some(char => combines.test(char))) return false
  return !atOnce(isBad(window)) && atOnce(repair(window)) === window
}

/**
 * Applies as many passes of decoding references to `text` as don't affect the other repairs. `repair`, the rest of a pass, must
 * not change `text`.
 */
export function* unescapeNested(text: string, repair: (text: string) => Steps<string>): Steps<string> {
  const bad = yield* isBad(text)
  const chain = new Chain(text.length)
  let candidates: number[] = []
  for (let i = 0, at = 0; i < text.length; i++) {
    at = chain.insert(text.charCodeAt(i), at)
    if (chain.code[at] === AMPERSAND) candidates.push(at)
    if (i % piece === 0) yield
  }
  for (;;) {
    let work = 0
    const found: Found[] = []
    for (const at of candidates) {
      const one = read(chain, at)
      if (one) found.push(one)
      if (++work % 64 === 0) yield
    }
    if (found.length === 0) return yield* chain.text()
    const replaced: Replaced[] = []
    for (const one of found) {
      replaced.push(replace(chain, one))
      if (++work % 64 === 0) yield
    }
    let quiet = true
    for (const one of replaced) {
      if (!leavesRest(chain, one, bad, repair)) {
        quiet = false
        break
      }
      if (++work % 16 === 0) yield
    }
    if (!quiet) {
      while (replaced.length > 0) {
        undo(chain, replaced.pop()!)
        if (++work % 64 === 0) yield
      }
      return yield* chain.text()
    }
    const next = new Set<number>()
    for (const { right } of replaced) {
      // Take the nearest & at or before the end of the replacement: no other reference can extend over it.
      let at = chain.previous[right]!
      for (let i = 0; i < strictLength && at !== 0 && chain.code[at] !== AMPERSAND; i++)
        at = chain.previous[at]!
      if (at !== 0 && chain.code[at] === AMPERSAND) next.add(at)
      if (++work % 64 === 0) yield
    }
    candidates = [...next]
    yield
  }
}
