/** Reads the added tokens of a model folder from tokenizer.json, tokenizer_config.json and added_tokens.json. */

import { ClipError } from '../base/errors.js'
import type { Json } from '../base/json.js'
import type { AddedToken } from './added-tokens.js'

const longest = 256
const most = 20_000

const shown = (value: Json | undefined): string =>
  (value instanceof Map ? 'an object' : (JSON.stringify(value) ?? 'nothing')).slice(0, 60)

function fault(file: string, field: string, expected: string, actual: string): ClipError {
  return new ClipError(
    'ERR_CLIP_CHECKPOINT',
    `${file}: expected \`${field}\` to be ${expected}, got ${actual}`,
    { file, field, expected, actual },
  )
}

/** The start and end tokens. */
const edges = /^<(\|(startoftext|endoftext)\||(start|end)_of_text)>$/

/** Reads an entry {content, id, single_word, lstrip, rstrip, normalized, special}. `id` is passed if it is the entry's key. */
export function addedToken(file: string, field: string, value: Json | undefined, id?: number): AddedToken {
  if (!(value instanceof Map)) throw fault(file, `${field}.content`, 'a string', shown(value))
  const content = value.get('content')
  const number = id ?? value.get('id')
  if (typeof content !== 'string' || content.length > longest)
    throw fault(
      file,
      `${field}.content`,
      `a string${typeof content === 'string' ? ` of at most ${longest} characters` : ''}`,
      shown(content),
    )
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0)
    throw fault(file, `${field}.id`, 'a whole number from 0', shown(number))
  const flag = (key: string, absent: boolean): boolean => {
    const said = value.get(key) ?? absent
    if (typeof said !== 'boolean') throw fault(file, `${field}.${key}`, 'true or false', shown(said))
    return said
  }
  const special = flag('special', false)
  return {
    content,
    id: number,
    singleWord: flag('single_word', false),
    lstrip: flag('lstrip', false),
    rstrip: flag('rstrip', false),
    normalized: flag('normalized', !special),
    special,
  }
}

/** `added_tokens` of tokenizer.json. */
export function ofTokenizerJson(file: string, value: Json | undefined): AddedToken[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw fault(file, 'added_tokens', 'an array', shown(value))
  if (value.length > most) throw fault(file, 'added_tokens', `at most ${most} tokens`, String(value.length))
  return value.map((token, i) => addedToken(file, `added_tokens[${i}]`, token))
}

/** `added_tokens_decoder` of tokenizer_config.json: {id: token}. */
export function ofTokenizerConfig(file: string, value: Json | undefined): AddedToken[] {
  if (value === undefined || value === null) return []
  if (!(value instanceof Map)) throw fault(file, 'added_tokens_decoder', 'an object', shown(value))
  if (value.size > most)
    throw fault(file, 'added_tokens_decoder', `at most ${most} tokens`, String(value.size))
  return [...value].map(([id, token]) =>
    addedToken(
      file,
      `added_tokens_decoder.${id.slice(0, 20)}`,
      token,
      /^\d{1,9}$/.test(id) ? Number(id) : -1,
    ),
  )
}

/** added_tokens.json of older versions: {content: id}, without flags. */
export function ofAddedTokens(file: string, value: ReadonlyMap<string, Json>): AddedToken[] {
  if (value.size > most) throw fault(file, '(root)', `at most ${most} tokens`, String(value.size))
  return [...value].map(([content, id]) =>
    addedToken(
      file,
      `[${shown(content)}]`,
      new Map<string, Json>([
        ['content', content],
        ['id', id],
      ]),
    ),
  )
}

/**
 * Returns each token once; the first definition is used. The start and end tokens are not included, because `specialTokens`
 * decides whether texts may contain them. Adds every token to `vocab`.
 */
export function addAll(
  vocab: Map<string, number>,
  sources: readonly { file: string; tokens: readonly AddedToken[] }[],
): AddedToken[] {
  const all = new Map<string, AddedToken>()
  for (const { file, tokens } of sources)
    for (const token of tokens) {
      const there = vocab.get(token.content)
      const isEdge = edges.test(token.content)
      if (isEdge && there !== undefined) continue
      if (there !== undefined && there !== token.id)
        throw fault(
          file,
          `added token ${shown(token.content)}`,
          `${there}, its id in the vocabulary`,
          String(token.id),
        )
      vocab.set(token.content, token.id)
      if (!isEdge && !all.has(token.content)) all.set(token.content, token)
    }
  return [...all.values()]
}
