/** All kinds of tokenizers, each in its own file. */

import { ClipError } from '../base/errors.js'
import { bpe } from './bpe.js'
import type { TokenizerSpec } from './spec.js'
import type { Tokenizer } from './tokenizer.js'
import type { Vocabulary } from './vocabulary.js'

export { readVocabulary } from './read-vocabulary.js'
export type { Vocabulary } from './vocabulary.js'

/**
 * Makes a tokenizer.
 * @param spec Kind, context length and family of the checkpoint.
 * @param vocabulary Its vocabulary; undefined = OpenAI's built-in one of 49408 pieces.
 * @throws ClipError ERR_CLIP_CHECKPOINT that names the field when the vocabulary can't be used; `signal.reason`.
 */
export async function createTokenizer(
  spec: TokenizerSpec,
  vocabulary?: Vocabulary,
  signal?: AbortSignal,
): Promise<Tokenizer> {
  if (spec.kind === 'file')
    throw new ClipError(
      'ERR_CLIP_CHECKPOINT',
      `${spec.file}: vocabularies of ${spec.class} can't be read by this version`,
      { file: spec.file },
    )
  return bpe.create(spec, vocabulary, signal)
}
