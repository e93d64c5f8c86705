/** Reads the vocabulary of a model folder: vocab.json and merges.txt, or the tokenizer.json of transformers 5. */

import { basename, join } from 'node:path'
import { ClipError } from '../base/errors.js'
import { type Json, JsonError, type JsonObject, parseJson, VOCABULARY_LIMITS } from '../base/json.js'
import { type FileFault, RegularFile, statPath } from '../base/regular-file.js'
import { inSlices, type Steps } from '../base/slices.js'
import type { AddedToken } from './added-tokens.js'
import { addAll, ofAddedTokens, ofTokenizerConfig, ofTokenizerJson } from './read-added-tokens.js'
import type { Vocabulary } from './vocabulary.js'

/** Maximum file size. A vocabulary of 49408 pieces takes 2 MB as tokenizer.json, or 4 MB in its most verbose form. */
const maxBytes = 16 << 20
/** Maximum number of merges; CLIP uses 48 894. */
const maxMerges = 200_000
const perStep = 64
/** Finds the added tokens in a tokenizer.json. */
const headLength = 4096

/** The location of the vocabulary: a model folder, or its files. */
export type VocabularySource = string | { vocab: string; merges: string } | { tokenizer: string }

/**
 * Reads and checks a vocabulary. In a folder, vocab.json with merges.txt takes precedence over tokenizer.json; added tokens are
 * read from every file that has some.
 * @returns undefined when the folder has none of these files.
 * @throws ClipError ERR_CLIP_CHECKPOINT that names file and field; `signal.reason`.
 */
export async function readVocabulary(
  source: VocabularySource,
  signal?: AbortSignal,
): Promise<Vocabulary | undefined> {
  if (typeof source !== 'string') {
    return 'tokenizer' in source
      ? tokenizerJson(source.tokenizer, await readText(source.tokenizer, signal), signal)
      : vocabAndMerges(source.vocab, source.merges, await readText(source.vocab, signal), signal)
  }
  const vocab = join(source, 'vocab.json')
  const vocabText = await readText(vocab, signal, true)
  if (vocabText !== undefined) {
    const read = await vocabAndMerges(vocab, join(source, 'merges.txt'), vocabText, signal)
    const added = addAll(read.vocab, await addedBeside(source, signal))
    return added.length > 0 ? { ...read, added } : read
  }
  const tokenizer = join(source, 'tokenizer.json')
  const text = await readText(tokenizer, signal, true)
  return text === undefined ? undefined : tokenizerJson(tokenizer, text, signal)
}

/** The added tokens of a folder with vocab.json, from each file that may list some. */
async function addedBeside(folder: string, signal: AbortSignal | undefined) {
  const sources: { file: string; tokens: AddedToken[] }[] = []
  const config = join(folder, 'tokenizer_config.json')
  const configText = await readText(config, signal, true)
  if (configText !== undefined) {
    const decoder = (await parsed(config, configText, signal)).get('added_tokens_decoder')
    sources.push({ file: config, tokens: ofTokenizerConfig(config, decoder) })
  }
  const tokenizer = join(folder, 'tokenizer.json')
  const listed = await inSlices(addedTokensText(await readText(tokenizer, signal, true)), signal)
  if (listed !== undefined) {
    const value = (await parsed(tokenizer, `{"added_tokens":${listed}}`, signal)).get('added_tokens')
    sources.push({ file: tokenizer, tokens: ofTokenizerJson(tokenizer, value) })
  }
  const plain = join(folder, 'added_tokens.json')
  const plainText = await readText(plain, signal, true)
  if (plainText !== undefined)
    sources.push({ file: plain, tokens: ofAddedTokens(plain, await parsed(plain, plainText, signal)) })
  return sources
}

/** Reads only the added tokens of a tokenizer.json, which precede the vocabulary; the vocabulary is read from vocab.json. */
function* addedTokensText(text: string | undefined): Steps<string | undefined> {
  const key = text === undefined ? null : /"added_tokens"\s*:\s*\[/.exec(text.slice(0, headLength))
  if (!text || !key) return undefined
  const start = key.index + key[0].length - 1
  const string = /"(?:[^"\\]|\\.)*"/y
  for (let at = start, depth = 0; at < text.length; at++) {
    if (at % 1024 === 0) yield
    const c = text[at]!
    if (c === '"') {
      string.lastIndex = at
      const whole = string.exec(text)
      if (!whole) return undefined
      at += whole[0].length - 1
    } else if (c === '[' || c === '{') depth++
    else if ((c === ']' || c === '}') && --depth === 0) return text.slice(start, at + 1)
  }
  return undefined
}

function fault(file: string, field: string, expected: string, actual: string, cause?: unknown): ClipError {
  return new ClipError(
    'ERR_CLIP_CHECKPOINT',
    `${file}: expected \`${field}\` to be ${expected}, got ${actual}`,
    {
      file,
      field,
      expected,
      actual,
      ...(cause === undefined ? {} : { cause }),
    },
  )
}

/** The whole file, or undefined when `optional` and there is none. */
export async function readText(file: string, signal: AbortSignal | undefined): Promise<string>
export async function readText(
  file: string,
  signal: AbortSignal | undefined,
  optional: true,
): Promise<string | undefined>
export async function readText(file: string, signal: AbortSignal | undefined, optional?: true) {
  const failed: FileFault = (message, facts, part) =>
    new ClipError('ERR_CLIP_CHECKPOINT', `${file}: ${message}`, { file, field: part, ...facts })
  if (optional && !(await statPath(file, failed))) return undefined
  const opened = await RegularFile.open(file, failed, signal)
  try {
    if (opened.bytes > maxBytes)
      throw fault(file, 'size', `at most ${maxBytes} bytes`, `${opened.bytes} bytes`)
    return await opened.text(0, opened.bytes, basename(file))
  } finally {
    await opened.close()
  }
}

const isObject = (value: Json | undefined): value is JsonObject => value instanceof Map

/** A piece for messages, shortened because it may be very long. */
export const shown = (piece: string): string => JSON.stringify(piece.slice(0, 60))

/** Describes a JSON value, for messages. */
function kind(value: Json | undefined): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'string') return shown(value)
  return isObject(value) ? 'an object' : String(JSON.stringify(value)).slice(0, 60)
}

/** The object in a JSON file. */
export async function parsed(
  file: string,
  text: string,
  signal: AbortSignal | undefined,
): Promise<JsonObject> {
  let value: Json
  try {
    // Files written with Python's utf-8-sig begin with a byte order mark.
    const plain = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
    value = await inSlices(parseJson(plain, VOCABULARY_LIMITS), signal)
  } catch (error) {
    if (error instanceof JsonError)
      throw new ClipError('ERR_CLIP_CHECKPOINT', `${file} is not JSON: ${error.message}`, {
        file,
        cause: error,
      })
    throw error
  }
  if (!isObject(value)) throw fault(file, '(root)', 'an object', kind(value))
  return value
}

/** Copies `vocab` into a map, each id checked. */
function* pieces(file: string, field: string, given: JsonObject): Steps<Map<string, number>> {
  const vocab = new Map<string, number>()
  for (const [piece, id] of given) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0)
      throw fault(file, `${field}[${shown(piece)}]`, 'an id (a whole number from 0)', kind(id))
    vocab.set(piece, id)
    if (vocab.size % perStep === 0) yield
  }
  return vocab
}

async function vocabAndMerges(
  vocabFile: string,
  mergesFile: string,
  vocabText: string,
  signal: AbortSignal | undefined,
): Promise<Vocabulary & { vocab: Map<string, number> }> {
  const mergesText = await readText(mergesFile, signal)
  const vocab = await inSlices(pieces(vocabFile, 'vocab', await parsed(vocabFile, vocabText, signal)), signal)
  const merges = await inSlices(mergeLines(mergesFile, mergesText), signal)
  return { vocab, merges, file: vocabFile }
}

function* mergeLines(file: string, text: string): Steps<string[]> {
  const merges: string[] = []
  let line = 0
  for (let from = 0; from < text.length; ) {
    let to = text.indexOf('\n', from)
    if (to < 0) to = text.length
    const merge = text.slice(from, text[to - 1] === '\r' ? to - 1 : to)
    from = to + 1
    line++
    if (merge === '' || (line === 1 && merge.startsWith('#version'))) continue
    if (merges.length === maxMerges) throw fault(file, 'merges', `at most ${maxMerges} lines`, 'more')
    merges.push(checkedMerge(merge, file, `line ${line}`))
    if (merges.length % perStep === 0) yield
  }
  return merges
}

/** A merge is two pieces with one space between. */
function checkedMerge(merge: string, file: string, field: string): string {
  const cut = merge.indexOf(' ')
  if (cut <= 0 || cut === merge.length - 1 || merge.indexOf(' ', cut + 1) >= 0)
    throw fault(file, field, 'two pieces with a space between', JSON.stringify(merge.slice(0, 60)))
  return merge
}

async function tokenizerJson(
  file: string,
  text: string,
  signal: AbortSignal | undefined,
): Promise<Vocabulary> {
  const root = await parsed(file, text, signal)
  const model = root.get('model')
  if (!isObject(model)) throw fault(file, 'model', 'an object', kind(model))
  const type = model.get('type')
  const given = model.get('vocab')
  const rules = model.get('merges')
  if (type !== undefined && type !== 'BPE') throw fault(file, 'model.type', '"BPE"', kind(type))
  if (!isObject(given)) throw fault(file, 'model.vocab', 'an object', kind(given))
  if (!Array.isArray(rules)) throw fault(file, 'model.merges', 'an array', kind(rules))
  const vocab = await inSlices(pieces(file, 'model.vocab', given), signal)
  const merges = await inSlices(mergeItems(file, rules), signal)
  const tokens = ofTokenizerJson(file, root.get('added_tokens'))
  const added = addAll(vocab, [{ file, tokens }])
  return { vocab, merges, file, ...(added.length > 0 ? { added } : {}) }
}

function* mergeItems(file: string, items: Json[]): Steps<string[]> {
  const merges: string[] = []
  for (const [i, item] of items.entries()) {
    const pair = Array.isArray(item) && item.length === 2 ? `${item[0]} ${item[1]}` : item
    if (typeof pair !== 'string') throw fault(file, `model.merges[${i}]`, '"a b" or ["a", "b"]', kind(item))
    merges.push(checkedMerge(pair, file, `model.merges[${i}]`))
    if (i % perStep === 0) yield
  }
  return merges
}
