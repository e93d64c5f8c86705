/** A model folder's vocabulary: tokenizer.json (transformers 4 and 5), or vocab.json and merges.txt. */

import { join } from 'node:path'
import { badCheckpoint, type Pace, quote } from './errors.js'
import { type Fields, kindOfJson, readJsonFile } from './fields.js'
import { type Json, type JsonObject, TOKENIZER_LIMITS } from './json.js'
import { SourceFile, statPath } from './source-file.js'
import type { Checkpoint } from './spec.js'

type Vocabulary = NonNullable<Checkpoint['vocabulary']>

const LARGEST = 64 << 20
const MOST_ENTRIES = 400_000

/** undefined when the folder has neither; ERR_CLIP_CHECKPOINT when what it has is damaged. */
export async function readVocabulary(folder: string, pace: Pace): Promise<Vocabulary | undefined> {
  const vocabFile = join(folder, 'vocab.json')
  const mergesFile = join(folder, 'merges.txt')
  const [vocab, merges] = [await statPath(vocabFile), await statPath(mergesFile)]
  if (vocab && merges) return plainFiles(vocabFile, mergesFile, pace)
  const tokenizer = join(folder, 'tokenizer.json')
  if (await statPath(tokenizer)) return tokenizerFile(tokenizer, pace)
  if (vocab || merges)
    throw badCheckpoint(
      folder,
      vocab ? 'merges.txt' : 'vocab.json',
      `has ${vocab ? 'vocab.json but no merges.txt' : 'merges.txt but no vocab.json'}`,
    )
  return undefined
}

async function plainFiles(vocabFile: string, mergesFile: string, pace: Pace): Promise<Vocabulary> {
  const vocab = await ids(
    vocabFile,
    undefined,
    (await readJsonFile(vocabFile, pace.signal, TOKENIZER_LIMITS, LARGEST)).object,
    pace,
  )
  const file = await SourceFile.open(mergesFile, pace.signal)
  let text: string
  try {
    if (file.bytes > LARGEST)
      throw badCheckpoint(mergesFile, undefined, `is ${file.bytes} bytes, more than ${LARGEST}`)
    text = await file.text(0, file.bytes, 'merges.txt')
  } finally {
    await file.close()
  }
  pace.restart()
  const merges: string[] = []
  let at = 0
  for (let line = 1; at < text.length; ++line) {
    let end = text.indexOf('\n', at)
    if (end < 0) end = text.length
    const merge = text.slice(at, text[end - 1] === '\r' ? end - 1 : end)
    at = end + 1
    if (merge !== '' && !(line === 1 && merge.startsWith('#version')))
      pushMerge(merges, merge, mergesFile, `line ${line}`, vocab)
    if ((line & 255) === 0 && pace.spent()) await pace.turn()
  }
  return { vocab, merges }
}

async function tokenizerFile(path: string, pace: Pace): Promise<Vocabulary> {
  const file = await readJsonFile(path, pace.signal, TOKENIZER_LIMITS, LARGEST)
  const model = file.section('model')
  if (!model) throw badCheckpoint(path, 'model', 'has no `model`')
  if (model.string('type', 'BPE') !== 'BPE') throw model.wrong('type', '"BPE"')
  if (model.string('end_of_word_suffix', '') !== '</w>') throw model.wrong('end_of_word_suffix', '"</w>"')
  const section = model.section('vocab')
  if (!section) throw badCheckpoint(path, 'model.vocab', 'has no `model.vocab`')
  const vocab = await ids(path, 'model.vocab', section.object, pace)
  addTokens(file, vocab)
  const list = model.get('merges')
  if (!Array.isArray(list))
    throw badCheckpoint(
      path,
      'model.merges',
      `expected \`model.merges\` to be an array, got ${kindOfJson(list)}`,
    )
  const merges: string[] = []
  for (let i = 0; i < list.length; ++i) {
    const merge = list[i]
    // "a b" up to tokenizers 0.19, ["a", "b"] since.
    pushMerge(
      merges,
      Array.isArray(merge) && merge.length === 2 ? `${merge[0]} ${merge[1]}` : merge,
      path,
      `model.merges[${i}]`,
      vocab,
    )
    if ((i & 255) === 0 && pace.spent()) await pace.turn()
  }
  return { vocab, merges }
}

async function ids(
  file: string,
  field: string | undefined,
  object: JsonObject,
  pace: Pace,
): Promise<Map<string, number>> {
  const prefix = field ? `${field}.` : ''
  if (object.size > MOST_ENTRIES)
    throw badCheckpoint(file, field, `has ${object.size} entries, more than ${MOST_ENTRIES}`)
  const seen = new Uint8Array(object.size + 1024)
  let i = 0
  for (const [token, id] of object) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= seen.length)
      throw badCheckpoint(
        file,
        prefix + token,
        `expected the id of ${quote(token)} to be an integer below ${seen.length}, got ${kindOfJson(id)}`,
      )
    if (seen[id]++)
      throw badCheckpoint(file, prefix + token, `the id ${id} of ${quote(token)} is also another token's`)
    if ((++i & 255) === 0 && pace.spent()) await pace.turn()
  }
  return object as Map<string, number>
}

/** Special tokens may be listed beside the vocabulary only. */
function addTokens(file: Fields, vocab: Map<string, number>): void {
  const list = file.get('added_tokens')
  if (list === undefined) return
  if (!Array.isArray(list)) throw file.wrong('added_tokens', 'an array')
  list.forEach((token, i) => {
    const content = token instanceof Map ? token.get('content') : undefined
    const id = token instanceof Map ? token.get('id') : undefined
    if (typeof content !== 'string' || typeof id !== 'number' || !Number.isInteger(id) || id < 0)
      throw badCheckpoint(
        file.file,
        `added_tokens[${i}]`,
        `expected \`added_tokens[${i}]\` to have \`content\` and \`id\`, got ${kindOfJson(token)}`,
      )
    const known = vocab.get(content)
    if (known !== undefined && known !== id)
      throw badCheckpoint(
        file.file,
        `added_tokens[${i}]`,
        `${quote(content)} has the id ${id} here and ${known} in \`model.vocab\``,
      )
    vocab.set(content, id)
  })
}

function pushMerge(
  merges: string[],
  merge: Json,
  file: string,
  field: string,
  vocab: Map<string, number>,
): void {
  const space = typeof merge === 'string' ? merge.indexOf(' ') : -1
  if (
    typeof merge !== 'string' ||
    space < 1 ||
    space === merge.length - 1 ||
    merge.indexOf(' ', space + 1) >= 0
  )
    throw badCheckpoint(
      file,
      field,
      `expected ${field} to be two pieces with a space between, got ${kindOfJson(merge)}`,
    )
  if (merges.length >= MOST_ENTRIES) throw badCheckpoint(file, field, `has more than ${MOST_ENTRIES} merges`)
  const joined = merge.slice(0, space) + merge.slice(space + 1)
  if (!vocab.has(joined))
    throw badCheckpoint(file, field, `${field} makes ${quote(joined)}, which is not in the vocabulary`)
  merges.push(merge)
}
