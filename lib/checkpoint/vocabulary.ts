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
  return file === undefined ? undefined : { file: join(folder, file), class: like }
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
