/** Encodes texts: from strings to the output of the text tower. */

import { allocate } from '../base/allocate.js'
import { argumentError, ClipError } from '../base/errors.js'
import { fields, flag, listOf, oneOf } from '../base/options.js'
import { Slices } from '../base/slices.js'
import { fromNative } from '../native/addon.js'
import type { RefusedText, TokenizeOptions, Tokenizer } from '../tokenizer/tokenizer.js'
import type { Call } from './admission.js'
import type { EmbeddingsOf } from './embeddings.js'
import { type Loaded, needProjection, towerMissing } from './loaded-model.js'
import { type CheckedEncode, checkEncode, type EncodeOptions, type Output, Rows } from './result.js'

export type { TokenizeOptions } from '../tokenizer/tokenizer.js'

export interface EncodeTextOptions<O extends Output = Output> extends EncodeOptions<O>, TokenizeOptions {}

/** Texts that are tokenised and handed to native code at a time. */
export const textsPerWindow = 2048

export const tokenizeOptionNames = ['truncate', 'cleaning', 'specialTokens']

export function checkTokenize(
  o: TokenizeOptions,
): Required<Pick<TokenizeOptions, 'truncate'>> & TokenizeOptions {
  return {
    truncate: flag('truncate', o.truncate ?? false),
    ...(o.cleaning === undefined
      ? {}
      : { cleaning: oneOf('cleaning', o.cleaning, ['openai', 'huggingface']) }),
    ...(o.specialTokens === undefined
      ? {}
      : { specialTokens: oneOf('specialTokens', o.specialTokens, ['text', 'parse']) }),
  }
}

export function needTextTower(loaded: Loaded): Tokenizer {
  const missing = towerMissing(loaded, 'text')
  if (missing) throw missing
  return loaded.tokenizer!
}

/** Token ids of a window, flattened for native code. */
export interface TokenWindow {
  /** Indices of the texts, in the window or in the call; texts that failed are left out. */
  rows: number[]
  ids: Int32Array
  /** Number of ids of each text in `rows`. */
  lengths: Int32Array
  /** Number of texts processed, including those that failed. */
  items: number
}

export function checkTexts(input: string | readonly string[]): { texts: readonly string[]; single: boolean } {
  if (typeof input === 'string') return { texts: [input], single: true }
  const texts = listOf('texts', 'be a string or an array of strings', input)
  return { texts: texts as string[], single: false }
}

/** The name of a caller's text in messages. */
export const textName = (single: boolean, i: number): string => (single ? 'text' : `texts[${i}]`)

export function tooLong(name: string, tokens: number, context: number, index?: number): ClipError {
  return new ClipError(
    'ERR_CLIP_TEXT_TOO_LONG',
    `\`${name}\` has ${tokens} tokens, start and end included, but the model's context is ${context}; \`truncate: true\` would cut it`,
    {
      field: name,
      expected: `at most ${context} tokens`,
      actual: `${tokens} tokens`,
      ...(index === undefined ? {} : { index }),
    },
  )
}

/** The error for a text that the tokenizer refuses even with `truncate`. */
export function refusedText(name: string, why: RefusedText, index?: number): ClipError {
  const { expected, actual } = why
  return new ClipError('ERR_CLIP_TEXT_TOO_LONG', `Expected \`${name}\` to ${expected}, got ${actual}`, {
    field: name,
    expected,
    actual,
    ...(index === undefined ? {} : { index }),
  })
}

/**
 * Tokenises one window of texts in slices. For text i of the window, `name` is its name in messages and `index` its index in
 * the caller's array. `fail` is called for each text that is too long, and may throw.
 */
export async function tokenWindow(
  loaded: Loaded,
  texts: readonly string[],
  name: (i: number) => string,
  index: (i: number) => number | undefined,
  options: TokenizeOptions,
  signal: AbortSignal | undefined,
  fail: (i: number, error: ClipError) => void,
): Promise<TokenWindow> {
  const tokenizer = needTextTower(loaded)
  const context = tokenizer.contextLength
  for (let i = 0; i < texts.length; i++)
    if (typeof texts[i] !== 'string') throw argumentError(name(i), 'be a string', texts[i])
  // Truncated here and checked below, because the tokenizer does not know the indices of the call.
  const encoded = await tokenizer.encodeAll(texts, { ...options, truncate: true }, signal)
  const ids = allocate(Int32Array, 'the token ids', texts.length, context)
  const lengths = new Int32Array(texts.length)
  const rows: number[] = []
  const slices = new Slices()
  let used = 0
  for (let i = 0; i < encoded.length; i++) {
    const one = encoded[i]!
    if (slices.due()) await slices.pause(signal)
    if (one.refused || (one.truncated && !options.truncate)) {
      fail(
        i,
        one.refused
          ? refusedText(name(i), one.refused, index(i))
          : tooLong(name(i), one.tokens, context, index(i)),
      )
      continue
    }
    ids.set(one.ids, used)
    used += one.ids.length
    lengths[rows.length] = one.ids.length
    rows.push(i)
  }
  return { rows, ids: ids.subarray(0, used), lengths: lengths.subarray(0, rows.length), items: texts.length }
}

async function* windowsOf(
  loaded: Loaded,
  texts: readonly string[],
  single: boolean,
  options: TokenizeOptions,
  signal: AbortSignal | undefined,
  fail: (row: number, error: ClipError) => void,
): AsyncGenerator<TokenWindow> {
  for (let first = 0; first < texts.length; first += textsPerWindow) {
    const part = texts.slice(first, first + textsPerWindow)
    const window = await windowAt(loaded, part, first, single, options, signal, fail)
    yield { ...window, rows: window.rows.map(row => row + first) }
  }
}

/** The window of texts that begins at position `first` of the call. */
function windowAt(
  loaded: Loaded,
  part: readonly string[],
  first: number,
  single: boolean,
  options: TokenizeOptions,
  signal: AbortSignal | undefined,
  fail: (row: number, error: ClipError) => void,
): Promise<TokenWindow> {
  const name = (i: number) => textName(single, first + i)
  const index = (i: number) => (single ? undefined : first + i)
  return tokenWindow(loaded, part, name, index, options, signal, (i, error) => fail(first + i, error))
}

/** The part of encodeText that follows checks and admission. */
export async function encodeTexts<O extends Output>(
  loaded: Loaded,
  call: Call,
  texts: readonly string[],
  single: boolean,
  options: CheckedEncode<O>,
  tokenize: TokenizeOptions,
): Promise<EmbeddingsOf<O>> {
  if (options.output === 'embedding') needProjection(loaded, 'text')
  const { model } = loaded
  const width = options.output === 'embedding' ? model.shapes.embedDim : model.shapes.text!.width
  const longestOf = ({ ids, lengths }: TokenWindow) => fromNative(async () => model.textTokens(ids, lengths))
  const failed: [number, ClipError][] = []
  const fail = (row: number, error: ClipError) => {
    if (!options.collect) throw error
    failed.push([row, error])
  }
  const encode = async (rows: Rows<O>, window: TokenWindow, longest: number) => {
    if (window.rows.length === 0) return
    const data = await call.submit((model, job) =>
      model.encodeText(job, window.ids, window.lengths, options.output, options.normalize),
    )
    await rows.add(window.rows, data, longest ? data.length / window.rows.length / width : 0)
  }
  let rows: Rows<O>
  if (texts.length <= textsPerWindow) {
    // A single window avoids the overhead of several windows, which is noticeable for one short text.
    const window = await windowAt(loaded, texts, 0, single, tokenize, call.signal, fail)
    const longest = options.output === 'tokens' ? await longestOf(window) : 0
    rows = new Rows(options, texts.length, width, longest)
    await encode(rows, window, longest)
    if (window.items > 0) rows.progress(window.items)
  } else {
    // 'tokens' pads to the longest text of the call, so all ids must be known before the first row is placed.
    const windows: AsyncIterable<TokenWindow> = windowsOf(loaded, texts, single, tokenize, call.signal, fail)
    let ready: AsyncIterable<TokenWindow> | TokenWindow[] = windows
    let longest = 0
    if (options.output === 'tokens') {
      const all: TokenWindow[] = []
      for await (const window of windows) {
        all.push({ ...window, ids: window.ids.slice() })
        longest = Math.max(longest, await longestOf(window))
      }
      ready = all
    }
    rows = new Rows(options, texts.length, width, longest)
    await call.inOrder(
      toAsync(ready),
      window => encode(rows, window, longest),
      window => rows.progress(window.items),
    )
  }
  for (const [row, error] of failed) rows.fail(row, error)
  return rows.finish()
}

async function* toAsync<T>(items: AsyncIterable<T> | Iterable<T>): AsyncGenerator<T> {
  yield* items
}

export async function encodeText<O extends Output>(
  loaded: Loaded,
  input: string | readonly string[],
  options: EncodeTextOptions<O> | undefined,
): Promise<EmbeddingsOf<O>> {
  const checked = checkEncode<O>(options, tokenizeOptionNames)
  const tokenize = checkTokenize(fields('options', options ?? {}, tokenizeOptionNames))
  const { texts, single } = checkTexts(input)
  needTextTower(loaded)
  return loaded.calls.run(checked.signal, call => encodeTexts(loaded, call, texts, single, checked, tokenize))
}
