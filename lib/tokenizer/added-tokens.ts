/**
 * Finds the tokens that were added to a vocabulary (textual inversion, special tokens) as Hugging Face's tokenizers do: the
 * leftmost match first, of several the longest, before the text is split into words.
 */

import { atOnce, type Steps } from '../base/slices.js'
import { cleanHuggingface } from './clean.js'

/** An added token, as in tokenizer.json and tokenizer_config.json. */
export interface AddedToken {
  content: string
  id: number
  /** Matches only if no letter, mark, digit or underscore is adjacent. */
  singleWord: boolean
  /** Also consumes the spaces before it, and those after it. */
  lstrip: boolean
  rstrip: boolean
  /** Matched in the cleaned, lower-case text instead of the original text. */
  normalized: boolean
  /** A special token, such as the end token, which is not part of texts. */
  special?: boolean
}

interface Node {
  next: Map<number, Node>
  token?: AddedToken
}

/** A part of a text, or the token that was found there. */
export type Part = string | AddedToken

/** Rust's `\w`. */
const word = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u
const isSpace = (unit: string): boolean => /\p{White_Space}/u.test(unit)
const perStep = 256

export class AddedTokens {
  readonly #raw: Node = { next: new Map() }
  readonly #normalized: Node = { next: new Map() }

  constructor(tokens: readonly AddedToken[]) {
    for (const token of tokens)
      if (token.normalized) insert(this.#normalized, atOnce(cleanHuggingface(token.content)), token)
      else insert(this.#raw, token.content, token)
  }

  /** Splits the original text at the tokens that are matched there. */
  split(text: string): Steps<Part[]> {
    return split(text, this.#raw)
  }

  /** Splits the cleaned text at the other tokens. */
  splitCleaned(text: string): Steps<Part[]> {
    return split(text, this.#normalized)
  }
}

/** Of two tokens with the same content, the first is used. */
function insert(root: Node, spelling: string, token: AddedToken): void {
  if (spelling === '') return
  let node = root
  for (let i = 0; i < spelling.length; i++) {
    const unit = spelling.charCodeAt(i)
    let next = node.next.get(unit)
    if (!next) {
      next = { next: new Map() }
      node.next.set(unit, next)
    }
    node = next
  }
  node.token ??= token
}

function longestAt(text: string, at: number, root: Node): { token: AddedToken; end: number } | undefined {
  let node: Node | undefined = root
  let found: { token: AddedToken; end: number } | undefined
  for (let i = at; i < text.length; i++) {
    node = node.next.get(text.charCodeAt(i))
    if (!node) break
    if (node.token) found = { token: node.token, end: i + 1 }
  }
  return found
}

const before = (text: string, at: number): string =>
  at === 0 ? '' : String.fromCodePoint(text.codePointAt(at - (isLow(text, at - 1) && at > 1 ? 2 : 1))!)
const after = (text: string, at: number): string =>
  at === text.length ? '' : String.fromCodePoint(text.codePointAt(at)!)
const isLow = (text: string, at: number): boolean => (text.charCodeAt(at) & 0xfc00) === 0xdc00

function* split(text: string, root: Node): Steps<Part[]> {
  if (root.next.size === 0) return [text]
  const parts: Part[] = []
  let done = 0
  let work = 0
  for (let at = 0; at < text.length; ) {
    if (++work % perStep === 0) yield
    const found = longestAt(text, at, root)
    if (!found) {
      at++
      continue
    }
    let [start, end] = [at, found.end]
    at = end
    const { token } = found
    if (token.singleWord && (word.test(before(text, start)) || word.test(after(text, end)))) continue
    if (token.lstrip) while (start > done && isSpace(text[start - 1]!)) if (--start % perStep === 0) yield
    if (token.rstrip) while (end < text.length && isSpace(text[end]!)) if (++end % perStep === 0) yield
    if (done < start) parts.push(text.slice(done, start))
    parts.push(token)
    done = end
  }
  if (done < text.length) parts.push(text.slice(done))
  return parts
}
