/** A kind of tokenizer, as index.ts lists them. */

import type { TokenizerSpec } from './spec.js'
import type { Tokenizer } from './tokenizer.js'
import type { Vocabulary } from './vocabulary.js'

export interface TokenizerKind<Spec extends TokenizerSpec = TokenizerSpec> {
  /** Rejects with ERR_CLIP_CHECKPOINT naming the field of a vocabulary that can't be used, or with the signal's reason. */
  create(spec: Spec, vocabulary: Vocabulary | undefined, signal: AbortSignal | undefined): Promise<Tokenizer>
}
