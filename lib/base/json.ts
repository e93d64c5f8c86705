/**
 * A strict JSON parser that works in steps of some microseconds and within limits. JSON.parse would block the event loop for
 * 30 ms on a tokenizer.json, accepts duplicate keys, and lets a small file become any number of objects. Objects become Maps,
 * so that __proto__ is a key like any other.
 */

import type { Steps } from './slices.js'

export type Json = null | boolean | number | string | Json[] | JsonObject
export type JsonObject = Map<string, Json>

export interface JsonLimits {
  depth: number
  /** Number of values of any kind. */
  values: number
  objects: number
}

export const CONFIG_LIMITS: JsonLimits = { depth: 32, values: 100_000, objects: 10_000 }
/** 20 000 tensors; a CLIP has some 600 to 2000. */
export const HEADER_LIMITS: JsonLimits = { depth: 4, values: 400_000, objects: 20_001 }
/** For the same number of tensors, each with the name of its file. */
export const INDEX_LIMITS: JsonLimits = { depth: 4, values: 20_100, objects: 100 }

/** CLIP's own tokenizer.json has 196 000 values when its merges are pairs. */
export const VOCABULARY_LIMITS: JsonLimits = { depth: 32, values: 220_000, objects: 10_000 }

/** Characters per step, which takes some tens of microseconds. */
const CHARACTERS_PER_STEP = 16_384
const LONGEST_STRING = 1 << 18
const LONGEST_NUMBER = 64

/** States what is wrong, and at which character of the text. The caller adds the name of the file. */
export class JsonError extends Error {
  constructor(
    message: string,
    readonly position: number,
  ) {
    super(`${message} at character ${position}`)
  }
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/

interface Open {
  container: Json[] | JsonObject
  key: string
  /** It is still empty, so it may be closed here. */
  fresh: boolean
}

class Parser {
  /** The part of the text that is in memory; text that has been parsed is dropped. */
  private text = ''
  /** Position of that part in the whole text. */
  private start = 0
  private piece = 0
  private at = 0
  private values = 0
  private objects = 0
  private readonly stack: Open[] = []
  private root: Json | undefined

  constructor(
    private readonly pieces: readonly string[],
    private readonly limits: JsonLimits,
  ) {}

  /** Appends the next piece to the text that is not yet parsed. Returns false if there is none. */
  private more(): boolean {
    if (this.piece === this.pieces.length) return false
    this.text = this.text.slice(this.at) + this.pieces[this.piece++]
    this.start += this.at
    this.at = 0
    return true
  }

  *run(): Steps<Json> {
    let steps = 0
    let from = 0
    while (!this.step())
      if ((++steps & 127) === 0 || this.start + this.at - from > CHARACTERS_PER_STEP) {
        from = this.start + this.at
        yield
      }
    return this.root as Json
  }

  private fail(message: string, position = this.at): JsonError {
    return new JsonError(message, this.start + position)
  }

  /**
   * Skips at most 4096 blanks, so that a run of a hundred million of them is divided into steps. Returns false if there may
   * be more.
   */
  private skipBlanks(): boolean {
    if (this.at >= this.text.length) this.more()
    const limit = Math.min(this.at + 4096, this.text.length)
    for (; this.at < limit; ++this.at) {
      const c = this.text.charCodeAt(this.at)
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return true
    }
    return this.at >= this.text.length && this.piece === this.pieces.length
  }

  private afterValue = false

  /** Parses one value, or the punctuation after it. Returns true at the end of the text. */
  private step(): boolean {
    if (this.parts.length > 0) {
      this.goOn()
      return false
    }
    if (!this.skipBlanks()) return false
    const { text, stack } = this
    const end = this.at >= text.length
    if (this.afterValue) {
      const top = stack[stack.length - 1]
      if (!top) {
        if (!end) throw this.fail('Unexpected text after the value')
        return true
      }
      if (end) throw this.fail('Unexpected end')
      const c = text[this.at]
      const array = Array.isArray(top.container)
      if (c === ',') {
        ++this.at
        this.afterValue = false
        top.key = ''
        if (!array) this.wantKey = true
      } else if (c === (array ? ']' : '}')) {
        ++this.at
        stack.pop()
      } else throw this.fail(`Expected , or ${array ? ']' : '}'}`)
      return false
    }
    if (end) throw this.fail('Unexpected end')
    const top = stack[stack.length - 1]
    if (top?.fresh) {
      top.fresh = false
      if (text[this.at] === (this.wantKey ? '}' : ']')) {
        ++this.at
        stack.pop()
        this.wantKey = false
        this.afterValue = true
        return false
      }
    }
    if (this.wantKey) this.key(top)
    else if (this.wantColon) {
      if (text[this.at] !== ':') throw this.fail('Expected :')
      ++this.at
      this.wantColon = false
    } else this.value()
    return false
  }

  private wantKey = false
  private wantColon = false

  private key(top: Open): void {
    if (this.text.charCodeAt(this.at) !== QUOTE) throw this.fail('Expected a key')
    const key = this.string()
    if (key !== undefined) this.putKey(top, key)
  }

  private putKey(top: Open, key: string): void {
    if ((top.container as JsonObject).has(key))
      throw this.fail(`Duplicate key ${JSON.stringify(key.slice(0, 80))}`, this.stringStart - this.start)
    top.key = key
    this.wantKey = false
    this.wantColon = true
  }

  private put(value: Json): void {
    if (++this.values > this.limits.values) throw this.fail(`More than ${this.limits.values} values`)
    const top = this.stack[this.stack.length - 1]
    if (!top) this.root = value
    else if (Array.isArray(top.container)) top.container.push(value)
    else top.container.set(top.key, value)
    this.afterValue = true
  }

  private open(container: Json[] | JsonObject, close: string): void {
    if (this.stack.length >= this.limits.depth) throw this.fail(`Nested more than ${this.limits.depth} deep`)
    ++this.at
    this.put(container)
    this.stack.push({ container, key: '', fresh: true })
    this.afterValue = false
    this.wantKey = close === '}'
  }

  private value(): void {
    const { text } = this
    const c = text[this.at]
    if (c === '"') {
      const value = this.string()
      if (value !== undefined) this.put(value)
    } else if (c === '[') this.open([], ']')
    else if (c === '{') {
      if (++this.objects > this.limits.objects) throw this.fail(`More than ${this.limits.objects} objects`)
      this.open(new Map(), '}')
    } else if (c === 't') this.word('true', true)
    else if (c === 'f') this.word('false', false)
    else if (c === 'n') this.word('null', null)
    else this.put(this.number())
  }

  private word(word: string, value: Json): void {
    while (this.text.length - this.at < word.length && this.more());
    if (!this.text.startsWith(word, this.at)) throw this.fail('Unexpected text')
    this.at += word.length
    this.put(value)
  }

  private number(): number {
    let start = this.at
    let end = start
    for (; end - start <= LONGEST_NUMBER; ++end) {
      while (end === this.text.length && this.more()) {
        end -= start
        start = 0
      }
      const c = this.text.charCodeAt(end)
      if (!((c >= 0x30 && c <= 0x39) || c === 0x2d || c === 0x2b || c === 0x2e || c === 0x65 || c === 0x45))
        break
    }
    const digits = this.text.slice(start, end)
    if (!NUMBER.test(digits)) throw this.fail('Unexpected text', start)
    this.at = end
    return Number(digits)
  }

  /** The parts that have been read of a long string that has not ended yet. */
  private parts: string[] = []
  /** Position of the opening quote of the current string in the whole text. */
  private stringStart = 0

  /** Parses the string that begins here. Returns undefined if only a part of a long string has been read. */
  private string(): string | undefined {
    this.stringStart = this.start + this.at
    return this.part('"')
  }

  /** Continues a string of which some parts have been read. */
  private goOn(): void {
    const string = this.part('')
    if (string === undefined) return
    if (this.wantKey) this.putKey(this.stack[this.stack.length - 1]!, string)
    else this.put(string)
  }

  /**
   * Reads the next part of a string from `this.at`, where its opening quote is, or, if `quote` is empty, where its next part
   * begins.
   */
  private part(quote: '"' | ''): string | undefined {
    const { text } = this
    // `this.at` is advanced only at the end, so that the whole part is kept if it needs another piece.
    const start = this.at + quote.length
    const longest = this.stringStart + 1 + LONGEST_STRING - this.start
    const enough = start + CHARACTERS_PER_STEP
    let backslash = -1
    let i = start
    // A part must not end within a \uXXXX.
    for (; i < longest && (i < enough || (i < backslash + 6 && text[backslash + 1] === 'u')); ++i) {
      const c = text.charCodeAt(i)
      if (i >= text.length && this.more()) return this.part(quote)
      if (c === QUOTE) {
        this.at = i + 1
        const last = this.decoded(start, i, backslash >= 0)
        if (this.parts.length === 0) return last
        this.parts.push(last)
        const whole = this.parts.join('')
        this.parts = []
        return whole
      }
      if (c === BACKSLASH) {
        backslash = i
        ++i
      } else if (!(c >= 0x20))
        throw this.fail(i >= text.length ? 'Unexpected end in a string' : 'Control character in a string', i)
    }
    if (i >= longest)
      throw this.fail(`String longer than ${LONGEST_STRING} characters`, this.stringStart + 1 - this.start)
    this.parts.push(this.decoded(start, i, backslash >= 0))
    this.at = i
    return undefined
  }

  private decoded(start: number, end: number, escaped: boolean): string {
    const raw = this.text.slice(start, end)
    if (!escaped) return raw
    try {
      return JSON.parse(`"${raw}"`) as string
    } catch {
      throw this.fail('Bad escape in a string', this.stringStart + 1 - this.start)
    }
  }
}

/** Parses a complete text, which may be passed in pieces, in steps for `inSlices`. Throws {@link JsonError}. */
export function parseJson(text: string | readonly string[], limits: JsonLimits): Steps<Json> {
  return new Parser(typeof text === 'string' ? [text] : text, limits).run()
}

/**
 * JSON.stringify(value) as UTF-8 in steps, in blocks that follow each other. For data that consists of strings, numbers,
 * booleans, null, arrays and plain objects.
 */
export function* writeJson(value: unknown): Steps<Uint8Array[]> {
  const encoder = new TextEncoder()
  const blocks: Uint8Array[] = []
  let parts: string[] = []
  let characters = 0
  const add = (part: string): boolean => {
    parts.push(part)
    characters += part.length
    if (parts.length < 256 && characters < 16384) return false
    blocks.push(encoder.encode(parts.join('')))
    parts = []
    characters = 0
    return true
  }
  const write = function* (one: unknown): Steps<void> {
    if (typeof one !== 'object' || one === null) {
      // As in an array, a value that JSON can't represent becomes null.
      if (add(JSON.stringify(one) ?? 'null')) yield
      return
    }
    const isList = Array.isArray(one)
    add(isList ? '[' : '{')
    let isFirst = true
    for (const [name, member] of isList ? one.entries() : Object.entries(one)) {
      if (!isList && (member === undefined || typeof member === 'function')) continue
      if (!isFirst) add(',')
      isFirst = false
      if (!isList) add(`${JSON.stringify(name)}:`)
      if (typeof member === 'string') {
        if (add(JSON.stringify(member))) yield
      } else yield* write(member)
    }
    add(isList ? ']' : '}')
  }
  yield* write(value)
  if (parts.length > 0) blocks.push(encoder.encode(parts.join('')))
  return blocks
}
