/**
 * Tokenizers of vocabulary files: SentencePiece, WordPiece and byte-level BPE, as in the classes of transformers. Native code
 * reads the file and tokenizes on the pool; this file cleans the texts, passes them on and assembles their ids.
 */

import { basename, dirname, join } from 'node:path'
import { allocate } from '../base/allocate.js'
import { argumentError, ClipError } from '../base/errors.js'
import { type FileFault, RegularFile } from '../base/regular-file.js'
import { atOnce, inSlices, type Steps } from '../base/slices.js'
import { binding, fromNative } from '../native/addon.js'
import type { NativeTokenizer, NativeTokenizerSettings, NativeVocabulary } from '../native/surface.js'
import { type AddedToken, AddedTokens } from './added-tokens.js'
import { canonicalizeSiglip, cleanOpenclip } from './clean.js'
import { prepareEntities } from './html.js'
import type { TokenizerKind } from './kind.js'
import { afterPair, mapPieces } from './pieces.js'
import { readSettings } from './read-config.js'
import type { FileTokenizerSpec } from './spec.js'
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

/** The same as kMostBytes of native/tokenizer/contents.h. */
const mostBytes = 192 * 2 ** 20

export const fileTokenizer: TokenizerKind<FileTokenizerSpec> = {
  async create(spec, _, signal) {
    if (spec.class === 'PreTrainedTokenizerFast' && formatOf(spec.file) !== 'json')
      throw new ClipError(
        'ERR_CLIP_CHECKPOINT',
        `${spec.file}: only a tokenizer.json says how texts are split. Write the class of the tokenizer (\`tokenizer_class\`) into the tokenizer_config.json beside it`,
        { file: spec.file, field: 'tokenizer_class', expected: 'the class of the tokenizer', actual: 'none' },
      )
    const settings = await readSettings(spec.file, spec.class, spec.language, signal)
    const native = await fromNative(
      async () => binding().openTokenizer({ ...settings, ...(await readFiles(spec.file, signal)) }),
      signal,
    )
    signal?.throwIfAborted()
    if (spec.cleaning !== 'none') await inSlices(prepareEntities(), signal)
    return new FileTokenizer(spec, settings, native)
  },
}

async function readBytes(file: string, signal: AbortSignal | undefined): Promise<Buffer> {
  const failed: FileFault = (message, facts, part) =>
    new ClipError('ERR_CLIP_CHECKPOINT', `${file}: ${message}`, { file, field: part, ...facts })
  const opened = await RegularFile.open(file, failed, signal)
  try {
    if (opened.bytes > mostBytes) {
      const [expected, actual] = [`at most ${mostBytes} bytes`, `${opened.bytes} bytes`]
      throw new ClipError(
        'ERR_CLIP_CHECKPOINT',
        `${file}: expected its size to be ${expected}, got ${actual}`,
        {
          file,
          field: 'size',
          expected,
          actual,
        },
      )
    }
    return await opened.read(0, opened.bytes)
  } finally {
    await opened.close()
  }
}

function formatOf(file: string): NativeVocabulary['format'] {
  if (file.endsWith('.model')) return 'sentencePiece'
  if (file.endsWith('.txt')) return 'lines'
  return basename(file) === 'vocab.json' ? 'merges' : 'json'
}

/** The bytes of a vocabulary, which are passed to native code. */
async function readFiles(file: string, signal: AbortSignal | undefined): Promise<NativeVocabulary> {
  const bytes = await readBytes(file, signal)
  const format = formatOf(file)
  if (format !== 'merges') return { file, bytes, format }
  const mergesFile = join(dirname(file), 'merges.txt')
  return { file, bytes, format: 'merges', mergesFile, merges: await readBytes(mergesFile, signal) }
}

/** Bytes of texts that are passed to native code at a time; a longer text is passed alone. */
const bytesPerCall = 1 << 18
/** UTF-16 units that are written as UTF-8 in one step. */
const unitsPerStep = 16_384
const mark = '\u2581'

/** A part of a text for native code, or a special token that was found there. */
type Part = string | AddedToken

/** The parts of texts, in the order in which they are passed to native code. */
interface Prepared {
  /** All parts that are texts, in UTF-8. */
  bytes: Uint8Array
  /** The end of each part. */
  ends: Int32Array
  /** The parts of each text; a string stands for the next entry of `ends`. */
  texts: (readonly Part[] | RefusedText)[]
}

class FileTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly contextLength: number
  readonly startId: number
  readonly endId: number
  readonly padId: number
  readonly #spec: FileTokenizerSpec
  readonly #native: NativeTokenizer
  readonly #prefix: number[]
  readonly #suffix: number[]
  /** SiglipTokenizer finds its tokens before it cleans the text between them. */
  readonly #siglip: { tokens: AddedTokens; lowerCase: boolean; unknown: string; skipped: number } | undefined

  constructor(spec: FileTokenizerSpec, settings: NativeTokenizerSettings, native: NativeTokenizer) {
    this.#spec = spec
    this.#native = native
    this.vocabSize = native.size
    this.contextLength = spec.contextLength
    this.padId = spec.padId ?? native.padId
    const own = (ids: Int32Array): number[] =>
      [...ids].map(id => (spec.stripSeparators && id === native.sepId ? 0 : id))
    this.#prefix = own(native.prefix)
    this.#suffix = own(native.suffix)
    this.startId = this.#prefix[0] ?? this.padId
    this.endId = this.#suffix.at(-1) ?? this.padId
    if (spec.class === 'SiglipTokenizer') this.#siglip = siglipRules(settings, native)
  }

  encode(text: string, options: TokenizeOptions = {}, index?: number): Encoded {
    if (text.length > mostCharacters) throw refusal(tooManyCharacters(text.length), index)
    const parts = atOnce(this.#parts(text, options))
    const special = this.#nativeParses(options)
    const ids = parts.map(part =>
      typeof part === 'string' ? [...this.#native.encodeNow(part, special)] : [part.id],
    )
    const lengths = ids.map(part => part.length)
    const one = atOnce(this.#finish(parts, ids, lengths))
    if (one.truncated && !options.truncate) throw tooManyTokens(index, one.tokens, this.contextLength)
    return one
  }

  async encodeAll(
    texts: readonly string[],
    options: TokenizeOptions = {},
    signal?: AbortSignal,
  ): Promise<Encoded[]> {
    signal?.throwIfAborted()
    const all: Encoded[] = []
    while (all.length < texts.length) {
      const first = all.length
      const prepared = await inSlices(this.#prepare(texts, first, options), signal)
      const count = prepared.ends.length
      const room = this.contextLength + (this.#siglip?.skipped ?? 0)
      const ids = allocate(Int32Array, 'the token ids', Math.max(count, 1), room)
      const counts = new Int32Array(count)
      if (count > 0)
        await fromNative(() =>
          this.#native.encode({
            bytes: prepared.bytes,
            ends: prepared.ends,
            texts: count,
            special: this.#nativeParses(options),
            room,
            ids,
            counts,
          }),
        )
      signal?.throwIfAborted()
      const ready = await inSlices(this.#collect(prepared.texts, ids, counts, room), signal)
      for (const [i, one] of ready.entries()) {
        if (one.truncated && !options.truncate) throw tooManyTokens(first + i, one.tokens, this.contextLength)
        all.push(one)
      }
    }
    return all
  }

  decode(ids: ArrayLike<number>): string {
    for (let i = 0; i < ids.length; i++)
      if (!Number.isInteger(ids[i]) || ids[i]! < 0 || ids[i]! >= 2 ** 31 || !this.#native.isId(ids[i]!))
        throw argumentError(
          `ids[${i}]`,
          `be an id of this vocabulary (0 to ${this.vocabSize - 1})`,
          ids[i],
          'range',
        )
    return this.#native.decode(Int32Array.from(ids))
  }

  #parsesSpecial(options: TokenizeOptions): boolean {
    return options.specialTokens !== 'text'
  }

  /** SigLIP's special tokens are found here, and the word that is inserted before each part must not be one of them. */
  #nativeParses(options: TokenizeOptions): boolean {
    return this.#siglip === undefined && this.#parsesSpecial(options)
  }

  /** The parts of the text for native code. */
  *#parts(text: string, options: TokenizeOptions): Steps<Part[]> {
    const cleaning =
      options.cleaning === undefined
        ? this.#spec.cleaning
        : options.cleaning === 'huggingface'
          ? 'none'
          : ('lower' as const)
    if (cleaning !== 'none') text = yield* cleanOpenclip(text, cleaning)
    const siglip = this.#siglip
    if (!siglip) return [text]
    text = mark + (yield* mapPieces(text, part => part.replaceAll(mark, ' ')))
    const found = this.#parsesSpecial(options) ? yield* siglip.tokens.split(text) : [text]
    const parts: Part[] = []
    for (const part of found) {
      if (parts.length % 64 === 63) yield
      parts.push(
        typeof part === 'string'
          ? siglip.unknown + (yield* canonicalizeSiglip(part, siglip.lowerCase))
          : part,
      )
    }
    return parts
  }

  /** The texts from `first` on, as many as are passed at a time. */
  *#prepare(texts: readonly string[], first: number, options: TokenizeOptions): Steps<Prepared> {
    const encoder = new TextEncoder()
    const blocks: Uint8Array[] = []
    const ends: number[] = []
    const prepared: Prepared['texts'] = []
    let bytes = 0
    for (let i = first; i < texts.length && bytes < bytesPerCall; i++) {
      yield
      const text = texts[i]!
      if (text.length > mostCharacters) {
        prepared.push(tooManyCharacters(text.length))
        continue
      }
      const parts = yield* this.#parts(text, options)
      for (const part of parts) {
        if (typeof part !== 'string') continue
        for (let from = 0; from < part.length; ) {
          const to = Math.min(part.length, afterPair(part, from + unitsPerStep))
          const block = encoder.encode(part.slice(from, to))
          blocks.push(block)
          bytes += block.length
          from = to
          if (from < part.length) yield
        }
        if (ends.push(bytes) % 64 === 0) yield
      }
      prepared.push(parts)
    }
    const all = new Uint8Array(bytes)
    let at = 0
    for (const [i, block] of blocks.entries()) {
      all.set(block, at)
      at += block.length
      if (i % 64 === 63) yield
    }
    const places = new Int32Array(ends.length)
    for (const [i, end] of ends.entries()) {
      places[i] = end
      if (i % 1024 === 1023) yield
    }
    return { bytes: all, ends: places, texts: prepared }
  }

  *#collect(texts: Prepared['texts'], ids: Int32Array, counts: Int32Array, room: number): Steps<Encoded[]> {
    const all: Encoded[] = []
    let next = 0
    for (const parts of texts) {
      yield
      if (parts instanceof RefusedText) {
        all.push({ ids: [], truncated: false, tokens: 0, refused: parts })
        continue
      }
      const found: number[][] = []
      const lengths: number[] = []
      for (const part of parts) {
        if (found.length % 256 === 255) yield
        if (typeof part !== 'string') {
          found.push([part.id])
          lengths.push(1)
          continue
        }
        const count = counts[next]!
        found.push(Array.from(ids.subarray(next * room, next * room + Math.min(count, room))))
        lengths.push(count)
        next++
      }
      all.push(yield* this.#finish(parts, found, lengths))
    }
    return all
  }

  /** Joins the ids of the parts, and adds the prefix and suffix of every text. */
  *#finish(
    parts: readonly Part[],
    found: readonly (readonly number[])[],
    lengths: readonly number[],
  ): Steps<Encoded> {
    const { sepId, eosId } = this.#native
    const room = this.contextLength - this.#prefix.length - this.#suffix.length
    const body: number[] = []
    let tokens = 0
    let last = -1
    for (const [i, part] of found.entries()) {
      if (i % 256 === 255) yield
      const skipped = this.#siglip && typeof parts[i] === 'string' ? this.#siglip.skipped : 0
      // As in the original, a part with fewer tokens than those that are skipped keeps them.
      const from = lengths[i]! >= skipped ? skipped : 0
      tokens += lengths[i]! - from
      for (let at = from; at < part.length && body.length < room; at++)
        body.push(this.#spec.stripSeparators && part[at] === sepId ? 0 : part[at]!)
      last = tokens <= room && part.length > from ? part.at(-1)! : last
    }
    // SiglipTokenizer adds no end token if the text ends with one.
    const ended = this.#siglip && (tokens > room ? body.at(-1) : last) === eosId
    const suffix = ended ? [] : this.#suffix
    const total =
      tokens +
      this.#prefix.length +
      (this.#siglip && last === eosId && tokens <= room ? 0 : this.#suffix.length)
    return {
      ids: [...this.#prefix, ...body, ...suffix],
      truncated: total > this.contextLength,
      tokens: total,
    }
  }
}

/**
 * The rules of SiglipTokenizer: its tokens, and a word before each part so that SentencePiece does not drop the part's first
 * space.
 */
function siglipRules(settings: NativeTokenizerSettings, native: NativeTokenizer) {
  const flags = { singleWord: false, lstrip: true, rstrip: true, normalized: false }
  const tokens: AddedToken[] = (settings.added ?? []).map(token => ({ ...token, normalized: false }))
  for (const content of [settings.unk, settings.eos, settings.pad])
    if (content !== undefined && !tokens.some(token => token.content === content))
      tokens.push({ content, id: content === settings.unk ? native.unkId : native.eosId, ...flags })
  const unknown = settings.unk ?? '<unk>'
  return {
    tokens: new AddedTokens(tokens),
    lowerCase: settings.lowercase ?? true,
    unknown,
    skipped: native.encodeNow(unknown, false).length,
  }
}
