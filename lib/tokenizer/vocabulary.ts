/** The tables that the merge loop reads, built from a parsed vocabulary or from OpenAI's built-in merges. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { ClipError } from '../base/errors.js'
import { inSlices, type Steps } from '../base/slices.js'
import { type AddedToken, AddedTokens } from './added-tokens.js'
import { bytesInVocabularyOrder, byteToSymbol } from './byte-symbols.js'
import { PairTable } from './pair-table.js'

/** A vocabulary as its files contain it. */
export interface Vocabulary {
  /** Piece -> id, special tokens included. */
  vocab: Record<string, number> | Map<string, number>
  /** "left right", the most frequent first. */
  merges: string[]
  /** Tokens that are matched in texts before everything else. */
  added?: AddedToken[]
  /** The file to name in messages. */
  file?: string
}

/** The tables for encode and decode. */
export interface Tables {
  /** Id of each byte inside a word (0 to 255) and at its end (256 to 511). */
  byteIds: Int32Array
  pairs: PairTable
  /** Pieces by id; undefined for unused ids. */
  pieces: (string | undefined)[]
  startId: number
  endId: number
  added?: AddedTokens
  /** Ids of added tokens, whose pieces are plain texts, not byte symbols. */
  addedIds: ReadonlySet<number>
}

const perStep = 64
const maxPieces = 1_000_000

/** Names of the two special tokens: OpenAI's and Hugging Face's, then OpenCLIP's. */
const startNames = ['<|startoftext|>', '<start_of_text>']
const endNames = ['<|endoftext|>', '<end_of_text>']

function fault(vocabulary: Vocabulary, field: string, expected: string, actual: string): ClipError {
  const file = vocabulary.file ?? 'vocabulary'
  return new ClipError(
    'ERR_CLIP_CHECKPOINT',
    `${file}: expected \`${field}\` to be ${expected}, got ${actual}`,
    {
      file,
      field,
      expected,
      actual,
    },
  )
}

/** Checks a parsed vocabulary and makes its tables. */
export function* buildTables(vocabulary: Vocabulary): Steps<Tables> {
  const given = vocabulary.vocab
  const ids = given instanceof Map ? given : new Map<string, number>()
  if (!(given instanceof Map)) for (const piece in given) ids.set(piece, given[piece]!)
  if (ids.size === 0 || ids.size > maxPieces)
    throw fault(vocabulary, 'vocab', `an object of 1 to ${maxPieces} pieces`, `${ids.size} pieces`)
  const pieces: (string | undefined)[] = []
  let work = 0
  for (const [piece, id] of ids) {
    if (!Number.isInteger(id) || id < 0 || id >= maxPieces)
      throw fault(
        vocabulary,
        `vocab[${JSON.stringify(piece.slice(0, 60))}]`,
        `an id from 0 to ${maxPieces - 1}`,
        String(id),
      )
    while (pieces.length <= id) pieces.push(undefined)
    if (pieces[id] !== undefined)
      throw fault(
        vocabulary,
        `vocab[${JSON.stringify(piece.slice(0, 60))}]`,
        'an id of its own',
        `${id}, that of ${JSON.stringify(pieces[id]!.slice(0, 60))}`,
      )
    pieces[id] = piece
    if (++work % perStep === 0) yield
  }
  const special = (names: string[], what: string): number => {
    for (const name of names) if (ids.has(name)) return ids.get(name)!
    throw fault(vocabulary, 'vocab', `to have the ${what} token ${names.join(' or ')}`, 'none of them')
  }
  const startId = special(startNames, 'start')
  const endId = special(endNames, 'end')
  // A byte that the vocabulary lacks becomes the unknown token, which is the end token in every CLIP model.
  const byteIds = new Int32Array(512)
  for (let byte = 0; byte < 256; byte++) {
    byteIds[byte] = ids.get(byteToSymbol[byte]!) ?? endId
    byteIds[256 + byte] = ids.get(`${byteToSymbol[byte]}</w>`) ?? endId
  }
  const merges = vocabulary.merges
  const pairs = new PairTable(merges.length)
  for (let rank = 0; rank < merges.length; rank++) {
    const merge = merges[rank]!
    const cut = merge.indexOf(' ')
    const left = ids.get(merge.slice(0, cut))
    const right = ids.get(merge.slice(cut + 1))
    const merged = ids.get(merge.slice(0, cut) + merge.slice(cut + 1))
    if (cut <= 0 || left === undefined || right === undefined || merged === undefined)
      throw fault(
        vocabulary,
        `merges[${rank}]`,
        'two pieces that are in the vocabulary, as is their union',
        JSON.stringify(merge.slice(0, 60)),
      )
    if (!pairs.set(left, right, rank, merged))
      throw fault(
        vocabulary,
        `merges[${rank}]`,
        'a pair that does not collide with thousands of others',
        JSON.stringify(merge.slice(0, 60)),
      )
    if (rank % perStep === 0) yield
  }
  const added = vocabulary.added ?? []
  return {
    byteIds,
    pairs,
    pieces,
    startId,
    endId,
    addedIds: new Set(added.map(token => token.id)),
    ...(added.length > 0 ? { added: new AddedTokens(added) } : {}),
  }
}

/** OpenAI's vocabulary from its merges alone: 256 bytes, 256 bytes at a word's end, the merges, two special tokens. */
function* vocabularyOfMerges(text: string): Steps<Vocabulary> {
  const vocab = new Map<string, number>()
  for (const end of ['', '</w>'])
    for (const byte of bytesInVocabularyOrder) vocab.set(byteToSymbol[byte] + end, vocab.size)
  const merges: string[] = []
  for (let from = 0; from < text.length; ) {
    const to = text.indexOf('\n', from)
    const merge = text.slice(from, to)
    const cut = merge.indexOf(' ')
    merges.push(merge)
    vocab.set(merge.slice(0, cut) + merge.slice(cut + 1), vocab.size)
    from = to + 1
    if (merges.length % perStep === 0) yield
  }
  vocab.set(startNames[0]!, vocab.size)
  vocab.set(endNames[0]!, vocab.size)
  return { vocab, merges, file: openaiFile }
}

const openaiFile = join(__dirname, '../../../models/openai-bpe/merges.txt.gz')
let openai: Promise<Tables> | undefined

/** OpenAI's vocabulary from the package's file. */
export async function openaiVocabulary(): Promise<Vocabulary> {
  const packed = await readFile(openaiFile)
  const text = (await promisify(gunzip)(packed, { maxOutputLength: 1 << 20 })).toString('utf8')
  return inSlices(vocabularyOfMerges(text))
}

/** Tables of OpenAI's 49408 pieces, made at first use and shared from then on. */
export async function openaiTables(signal?: AbortSignal): Promise<Tables> {
  // Shared by all models of the process, so the abort of one caller must not cancel it: the signal ends only the wait.
  openai ??= (async () => inSlices(buildTables(await openaiVocabulary())))().catch(cause => {
    openai = undefined
    throw new ClipError('ERR_CLIP_CHECKPOINT', `${openaiFile} can't be used: ${(cause as Error).message}`, {
      file: openaiFile,
      cause,
    })
  })
  const tables = await openai
  signal?.throwIfAborted()
  return tables
}
