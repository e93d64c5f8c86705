/** The vocabulary of a model folder. */

import { basename, dirname, join } from 'node:path'
import { readVocabulary } from '../tokenizer/read-vocabulary.js'
import { type FileTokenizerSpec, type TokenizerClass, tokenizerClasses } from '../tokenizer/spec.js'
import { badConfig, type Pace, quote } from './errors.js'
import { type Fields, readJsonFile } from './fields.js'
import { firstOf } from './layouts.js'
import type { Checkpoint } from './spec.js'

export async function vocabularyOf(folder: string, pace: Pace): Promise<Checkpoint['vocabulary']> {
  const vocabulary =
    (await readVocabulary(folder, pace.signal)) ??
    (await readVocabulary(siblingOf(folder, /^text_encoder/, 'tokenizer'), pace.signal))
  pace.restart()
  return vocabulary
}

/** In a diffusers pipeline, the tokenizer of a component is in a folder beside it. */
export function siblingOf(folder: string, part: RegExp, name: string): string {
  const own = basename(folder)
  return part.test(own) ? join(dirname(folder), own.replace(part, name)) : folder
}

/** Files of a vocabulary, the one that is read first. SiglipTokenizer of transformers reads only SentencePiece's. */
const models = ['spiece.model', 'sentencepiece.bpe.model', 'tokenizer.model']
const vocabularyFiles = ['tokenizer.json', ...models, 'vocab.txt', 'vocab.json']

/** Names of the generic class in tokenizer_config.json. */
const generic = ['PreTrainedTokenizer', 'TokenizersBackend']

/**
 * The class of a folder's tokenizer in transformers, according to its tokenizer_config.json, and the file of its vocabulary;
 * undefined without a configuration. A family may use another class than the one that is named.
 * @throws ClipError ERR_CLIP_CONFIG for a class that is not implemented, unless the family knows better (`given`).
 */
export async function tokenizerOf(
  folder: string,
  pace: Pace,
  given?: TokenizerClass,
): Promise<Pick<FileTokenizerSpec, 'file' | 'class'> | undefined> {
  const name = 'tokenizer_config.json'
  const config = await firstOf(folder, [name])
  const told =
    given ?? (config === undefined ? undefined : classOf(await readJsonFile(join(folder, name), pace.signal)))
  const like = told ?? 'PreTrainedTokenizerFast'
  const file = await firstOf(
    folder,
    like === 'SiglipTokenizer' ? [...models, ...vocabularyFiles] : vocabularyFiles,
  )
  if (file === undefined) return undefined
  // Nothing but BERT has a vocab.txt, and older repositories of it name no class.
  return { file: join(folder, file), class: told ?? (file === 'vocab.txt' ? 'BertTokenizer' : like) }
}

function classOf(config: Fields): TokenizerClass {
  const said = config.string('tokenizer_class', 'PreTrainedTokenizerFast')
  const plain = said.replace(/Fast$/, '')
  const found = tokenizerClasses.find(name => name.replace(/Fast$/, '') === plain)
  if (found) return found
  if (generic.includes(plain)) return 'PreTrainedTokenizerFast'
  throw badConfig(
    config.file,
    'tokenizer_class',
    `expected \`tokenizer_class\` to be one of ${tokenizerClasses.join(', ')}, got ${quote(said)}. Load only the image tower: \`towers: ['image']\``,
    { expected: tokenizerClasses.join(', '), actual: said },
  )
}

/** The size of Gemma's vocabulary, whose pad token is the first; SentencePiece models of SigLIP have it second. */
const gemmaPieces = 256000

/** The id with which texts are padded if no tokenizer file defines it. */
export const defaultPadId = (vocabSize: number): number =>
  vocabSize === gemmaPieces || vocabSize <= 30522 ? 0 : 1

/** Ids of the tokens that classes pad with, by the token's text, and the token that a class uses by default. */
const pads: Partial<Record<TokenizerClass, { preset: string; ids: Record<string, number> }>> = {
  T5Tokenizer: { preset: '<pad>', ids: { '<pad>': 0, '</s>': 1 } },
  SiglipTokenizer: { preset: '</s>', ids: { '<pad>': 0, '</s>': 1 } },
  GemmaTokenizer: { preset: '<pad>', ids: { '<pad>': 0 } },
  Siglip2Tokenizer: { preset: '<pad>', ids: { '<pad>': 0 } },
  XLMRobertaTokenizer: { preset: '<pad>', ids: { '<pad>': 1 } },
  NllbTokenizer: { preset: '<pad>', ids: { '<pad>': 1 } },
  RobertaTokenizer: { preset: '<pad>', ids: { '<pad>': 1 } },
  BertTokenizer: { preset: '[PAD]', ids: { '[PAD]': 0 } },
}

/** The id of a tokenizer's pad token, which towers without a causal mask attend to. */
export async function padIdOf(folder: string, pace: Pace, otherwise: number): Promise<number> {
  const name = 'tokenizer_config.json'
  const config = (await firstOf(folder, [name])) && (await readJsonFile(join(folder, name), pace.signal))
  const said = config ? config.get('pad_token') : undefined
  const token = said instanceof Map ? said.get('content') : said
  // The list in files of transformers 4.
  const listed = config ? config.get('added_tokens_decoder') : undefined
  if (listed instanceof Map && typeof token === 'string')
    for (const [id, entry] of listed)
      if (entry instanceof Map && entry.get('content') === token && /^\d{1,7}$/.test(id)) return Number(id)
  const known = config ? pads[classOf(config)] : undefined
  return known?.ids[typeof token === 'string' ? token : known.preset] ?? otherwise
}
