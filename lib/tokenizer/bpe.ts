/** CLIP's tokenizer: cleaning, splitting into words, byte-level BPE. */

import { argumentError } from '../base/errors.js'
import { atOnce, inSlices, type Steps } from '../base/slices.js'
import type { AddedTokens } from './added-tokens.js'
import { symbolToByte } from './byte-symbols.js'
import { cleanHuggingface, cleanOpenai } from './clean.js'
import { prepareEntities } from './html.js'
import type { TokenizerKind } from './kind.js'
import { longList } from './long-list.js'
import { merge } from './merge.js'
import { afterPair, piece } from './pieces.js'
import type { ClipTokenizerSpec } from './spec.js'
import {
  type Encoded,
  mostCharacters,
  RefusedText,
  refusal,
  type TokenizeOptions,
  type Tokenizer,
  tooManyCharacters,
  tooManyTokens,
} from './tokenizer.js'
import { buildTables, openaiTables, type Tables } from './vocabulary.js'
import { huggingfaceWords, openaiWords, type Words } from './words.js'

export const bpe: TokenizerKind<ClipTokenizerSpec> = {
  async create(spec, vocabulary, signal) {
    await inSlices(prepareEntities(), signal)
    const tables = vocabulary ? await inSlices(buildTables(vocabulary), signal) : await openaiTables(signal)
    return new BpeTokenizer(spec, tables)
  },
}

/** Words kept in each of the two generations of the cache. */
const cachedWords = 8192
/** Longer words are rare and expensive to cache. */
const cachedLength = 64
/** Words per step. */
const perStep = 32

/**
 * Splits a text at its start and end tokens. Hugging Face matches them in the original text; text that looks like one only
 * after lower-casing is treated as words.
 */
function* edgeTokens(text: string): Steps<string[]> {
  const special = /<\|(?:startoftext|endoftext)\|>/y
  const parts: string[] = []
  let done = 0
  for (let at = text.indexOf('<|'); at >= 0; at = text.indexOf('<|', at + 1)) {
    special.lastIndex = at
    const token = special.exec(text)?.[0]
    if (token !== undefined) {
      parts.push(text.slice(done, at), token)
      done = at + token.length
    }
    yield
  }
  parts.push(text.slice(done))
  return parts
}

class BpeTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly contextLength: number
  readonly startId: number
  readonly endId: number
  readonly padId: number
  readonly #tables: Tables
  #recent = new Map<string, Int32Array>()
  #older = new Map<string, Int32Array>()

  constructor(spec: ClipTokenizerSpec, tables: Tables) {
    this.#tables = tables
    this.vocabSize = tables.pieces.length
    this.contextLength = spec.contextLength
    this.startId = tables.startId
    this.endId = tables.endId
    this.padId = spec.padId ?? (spec.family === 'huggingface' ? tables.endId : 0)
  }

  encode(text: string, options: TokenizeOptions = {}, index?: number): Encoded {
    try {
      return atOnce(this.#encode(text, options, index))
    } catch (error) {
      if (!(error instanceof RefusedText)) throw error
      throw refusal(error, index)
    }
  }

  async encodeAll(
    texts: readonly string[],
    options: TokenizeOptions = {},
    signal?: AbortSignal,
  ): Promise<Encoded[]> {
    return inSlices(this.#encodeAll(texts, options), signal)
  }

  decode(ids: ArrayLike<number>): string {
    const bytes: number[] = []
    for (let i = 0; i < ids.length; i++) {
      const spelling = this.#tables.pieces[ids[i]!]
      if (spelling === undefined)
        throw argumentError(
          `ids[${i}]`,
          `be an id of this vocabulary (0 to ${this.vocabSize - 1})`,
          ids[i],
          'range',
        )
      if (this.#tables.addedIds.has(ids[i]!)) {
        bytes.push(...Buffer.from(spelling, 'utf8'))
        continue
      }
      for (const symbol of spelling) {
        const byte = symbolToByte.get(symbol)
        if (byte !== undefined) bytes.push(byte)
        else bytes.push(...Buffer.from(symbol, 'utf8'))
      }
    }
    return Buffer.from(bytes).toString('utf8').replaceAll('</w>', ' ')
  }

  *#encodeAll(texts: readonly string[], options: TokenizeOptions): Steps<Encoded[]> {
    const all: Encoded[] = []
    for (let i = 0; i < texts.length; i++) {
      try {
        all.push(yield* this.#encode(texts[i]!, options, i))
      } catch (error) {
        if (!(error instanceof RefusedText)) throw error
        all.push({ ids: [], truncated: false, tokens: 0, refused: error })
      }
      yield
    }
    return all
  }

  *#encode(text: string, options: TokenizeOptions, index: number | undefined): Steps<Encoded> {
    const kept: number[] = [this.startId]
    let tokens = 1
    const add = (ids: Int32Array): void => {
      for (let i = 0; i < ids.length && kept.length < this.contextLength; i++) kept.push(ids[i]!)
      tokens += ids.length
    }
    yield* this.#encodeText(text, options, add)
    add(Int32Array.of(this.endId))
    const truncated = tokens > this.contextLength
    if (truncated && !options.truncate) throw tooManyTokens(index, tokens, this.contextLength)
    if (truncated) kept[this.contextLength - 1] = this.endId
    return { ids: kept, truncated, tokens }
  }

  *#encodeText(text: string, options: TokenizeOptions, add: (ids: Int32Array) => void): Steps<void> {
    if (text.length > mostCharacters) throw tooManyCharacters(text.length)
    const parse = options.specialTokens === 'parse'
    const { added } = this.#tables
    if (added) {
      yield* this.#encodeWithAdded(text, added, options.cleaning === 'huggingface', parse, add)
      return
    }
    if (options.cleaning !== 'huggingface') {
      yield* this.#encodeWords(openaiWords(yield* cleanOpenai(text), parse), parse, add)
      return
    }
    if (!parse) {
      yield* this.#encodeWords(huggingfaceWords(yield* cleanHuggingface(text), false), false, add)
      return
    }
    let work = 0
    for (const part of yield* edgeTokens(text)) {
      if (++work % perStep === 0) yield
      const id = this.#specialId(part)
      if (id !== undefined) add(Int32Array.of(id))
      else yield* this.#encodeWords(huggingfaceWords(yield* cleanHuggingface(part), true), false, add)
    }
  }

  /** Finds added tokens in the original text, and normalized ones in the cleaned text; the rest is split into words. */
  *#encodeWithAdded(
    text: string,
    added: AddedTokens,
    huggingface: boolean,
    parse: boolean,
    add: (ids: Int32Array) => void,
  ): Steps<void> {
    let work = 0
    for (const part of yield* added.split(text)) {
      if (++work % perStep === 0) yield
      if (typeof part !== 'string') {
        add(Int32Array.of(part.id))
        continue
      }
      for (const piece of parse && huggingface ? yield* edgeTokens(part) : [part]) {
        if (++work % perStep === 0) yield
        const id = parse && huggingface ? this.#specialId(piece) : undefined
        if (id !== undefined) {
          add(Int32Array.of(id))
          continue
        }
        const cleaned = yield* huggingface ? cleanHuggingface(piece) : cleanOpenai(piece)
        for (const found of yield* added.splitCleaned(cleaned)) {
          if (++work % perStep === 0) yield
          if (typeof found !== 'string') add(Int32Array.of(found.id))
          else if (huggingface) yield* this.#encodeWords(huggingfaceWords(found, parse), false, add)
          else yield* this.#encodeWords(openaiWords(found, parse), parse, add)
        }
      }
    }
  }

  #specialId(word: string): number | undefined {
    if (word === '<|startoftext|>') return this.startId
    if (word === '<|endoftext|>') return this.endId
    return undefined
  }

  *#encodeWords(words: Words, special: boolean, add: (ids: Int32Array) => void): Steps<void> {
    let work = 0
    for (const word of words) {
      if (word === undefined) {
        yield
        continue
      }
      if (++work % perStep === 0) yield
      const id = special ? this.#specialId(word) : undefined
      add(id === undefined ? (this.#cached(word) ?? (yield* this.#encodeWord(word))) : Int32Array.of(id))
    }
  }

  #cached(word: string): Int32Array | undefined {
    if (word.length > cachedLength) return undefined
    const recent = this.#recent.get(word)
    if (recent) return recent
    const older = this.#older.get(word)
    if (older) this.#keep(word, older)
    return older
  }

  #keep(word: string, ids: Int32Array): void {
    if (this.#recent.size >= cachedWords) {
      this.#older = this.#recent
      this.#recent = new Map()
    }
    this.#recent.set(word, ids)
  }

  *#encodeWord(word: string): Steps<Int32Array> {
    const symbols = yield* this.#bytesOf(word)
    const count = yield* merge(symbols, this.#tables.pairs)
    const ids = word.length > cachedLength ? symbols.subarray(0, count) : symbols.slice(0, count)
    if (word.length <= cachedLength) this.#keep(word, ids)
    return ids
  }

  /** A symbol for each UTF-8 byte of the word; the last one is the end-of-word variant. */
  *#bytesOf(word: string): Steps<Int32Array> {
    const { byteIds } = this.#tables
    const symbols = longList(3 * word.length)
    let count = 0
    let last = 0
    for (let from = 0; from < word.length; ) {
      const to = afterPair(word, from + piece)
      for (const byte of Buffer.from(word.slice(from, to), 'utf8')) {
        symbols[count++] = byteIds[byte]!
        last = byte
      }
      from = to
      if (from < word.length) yield
    }
    symbols[count - 1] = byteIds[256 + last]!
    return symbols.subarray(0, count)
  }
}
