/** CLIP's tokenizer: cleaning, splitting into words, byte-level BPE. */

import type { TokenizerSpec } from '../checkpoint/spec.js'
import { argumentError, ClipError } from '../errors.js'
import { atOnce, inSlices, type Steps } from '../slices.js'
import { symbolToByte } from './byte-symbols.js'
import { cleanHuggingface, cleanOpenai } from './clean.js'
import { prepareEntities } from './html.js'
import { merge } from './merge.js'
import type { Encoded, TokenizeOptions, Tokenizer } from './tokenizer.js'
import { buildTables, openaiTables, type Tables, type Vocabulary } from './vocabulary.js'
import { huggingfaceWords, openaiWords } from './words.js'

export { readVocabulary } from './read-vocabulary.js'
export type { Vocabulary } from './vocabulary.js'

/**
 * Makes a tokenizer.
 * @param spec Context length and family of the checkpoint.
 * @param vocabulary Its vocabulary; undefined = OpenAI's built-in one of 49408 pieces.
 * @throws ClipError ERR_CLIP_CHECKPOINT that names the field when the vocabulary can't be used; `signal.reason`.
 */
export async function createTokenizer(
  spec: TokenizerSpec,
  vocabulary?: Vocabulary,
  signal?: AbortSignal,
): Promise<Tokenizer> {
  await inSlices(prepareEntities(), signal)
  const tables = vocabulary ? await inSlices(buildTables(vocabulary), signal) : await openaiTables(signal)
  return new BpeTokenizer(spec, tables)
}

/** Words kept in each of the two generations of the cache. */
const cachedWords = 8192
/** Longer words are rare and expensive to keep. */
const cachedLength = 64
/** Words per step. */
const perStep = 32

class BpeTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly contextLength: number
  readonly startId: number
  readonly endId: number
  readonly padId: number
  readonly #tables: Tables
  #recent = new Map<string, Int32Array>()
  #older = new Map<string, Int32Array>()

  constructor(spec: TokenizerSpec, tables: Tables) {
    this.#tables = tables
    this.vocabSize = tables.pieces.length
    this.contextLength = spec.contextLength
    this.startId = tables.startId
    this.endId = tables.endId
    this.padId = spec.padId ?? (spec.family === 'huggingface' ? tables.endId : 0)
  }

  encode(text: string, options: TokenizeOptions = {}, index?: number): Encoded {
    return atOnce(this.#encode(text, options, index))
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
      const piece = this.#tables.pieces[ids[i]!]
      if (piece === undefined)
        throw argumentError(
          `ids[${i}]`,
          `be an id of this vocabulary (0 to ${this.vocabSize - 1})`,
          ids[i],
          'range',
        )
      for (const symbol of piece) {
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
      all.push(yield* this.#encode(texts[i]!, options, i))
      yield
    }
    return all
  }

  *#encode(text: string, options: TokenizeOptions, index: number | undefined): Steps<Encoded> {
    const kept: number[] = [this.startId]
    let tokens = 1
    const add = (id: number): void => {
      if (tokens++ < this.contextLength) kept.push(id)
    }
    const huggingface = options.cleaning === 'huggingface'
    const parse = options.specialTokens === 'parse'
    if (!huggingface) {
      yield* this.#encodeWords(openaiWords(yield* cleanOpenai(text), parse), parse, add)
    } else if (!parse) {
      yield* this.#encodeWords(huggingfaceWords(cleanHuggingface(text), false), false, add)
    } else {
      // Hugging Face finds special tokens in the text as it came; what looks like one after lower-casing is words.
      for (const part of text.split(/(<\|startoftext\|>|<\|endoftext\|>)/)) {
        const id = this.#specialId(part)
        if (id !== undefined) add(id)
        else yield* this.#encodeWords(huggingfaceWords(cleanHuggingface(part), true), false, add)
      }
    }
    add(this.endId)
    const truncated = tokens > this.contextLength
    if (truncated && !options.truncate)
      throw new ClipError(
        'ERR_CLIP_TEXT_TOO_LONG',
        `${index === undefined ? 'The text' : `texts[${index}]`} has ${tokens} tokens, start and end included, but the model's context is ${this.contextLength}. Pass \`truncate: true\` to cut it.`,
        {
          expected: `at most ${this.contextLength} tokens`,
          actual: `${tokens} tokens`,
          ...(index === undefined ? {} : { index }),
        },
      )
    if (truncated) kept[this.contextLength - 1] = this.endId
    return { ids: kept, truncated, tokens }
  }

  #specialId(word: string): number | undefined {
    if (word === '<|startoftext|>') return this.startId
    if (word === '<|endoftext|>') return this.endId
    return undefined
  }

  *#encodeWords(words: Iterable<string>, special: boolean, add: (id: number) => void): Steps<void> {
    let work = 0
    for (const word of words) {
      if (++work % perStep === 0) yield
      const id = special ? this.#specialId(word) : undefined
      if (id !== undefined) {
        add(id)
        continue
      }
      const ids = this.#cached(word) ?? (yield* this.#encodeWord(word))
      for (let i = 0; i < ids.length; i++) add(ids[i]!)
    }
  }

  #cached(word: string): Int32Array | undefined {
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
    const bytes = Buffer.from(word, 'utf8')
    const symbols = new Int32Array(bytes.length)
    for (let i = 0; i < bytes.length; i++) symbols[i] = this.#tables.byteIds[bytes[i]!]!
    symbols[bytes.length - 1] = this.#tables.byteIds[256 + bytes[bytes.length - 1]!]!
    const count = yield* merge(symbols, this.#tables.pairs)
    const ids = symbols.slice(0, count)
    if (word.length <= cachedLength) this.#keep(word, ids)
    return ids
  }
}
