/** All kinds of tokenizers, each in its own file. */

import { bpe } from './bpe.js'
import { fileTokenizer } from './file-tokenizer.js'
import type { TokenizerSpec } from './spec.js'
import type { Tokenizer } from './tokenizer.js'
import type { Vocabulary } from './vocabulary.js'

export { readVocabulary } from './read-vocabulary.js'
export type { Vocabulary } from './vocabulary.js'

/**
 * Makes a tokenizer.
 * @param spec Kind, context length and the other settings of the checkpoint's family.
 * @param vocabulary The vocabulary of kind 'bpe'; undefined = OpenAI's built-in one of 49408 pieces.
 * @throws ClipError ERR_CLIP_CHECKPOINT that names the field when the vocabulary can't be used; `signal.reason`.
 */
export async function createTokenizer(
  spec: TokenizerSpec,
  vocabulary?: Vocabulary,
  signal?: AbortSignal,
): Promise<Tokenizer> {
  return spec.kind === 'file'
    ? fileTokenizer.create(spec, undefined, signal)
    : bpe.create(spec, vocabulary, signal)
}
