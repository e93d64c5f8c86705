/** The description of a checkpoint before its weights are read. */

import type { ClipError } from '../base/errors.js'
import type { Activation, ModelSpec, PreprocessSpec } from '../native/spec.js'
import type { AddedToken } from '../tokenizer/added-tokens.js'
import type { TokenizerSpec } from '../tokenizer/spec.js'

/** Everything that `load` knows about a checkpoint before native code is called. */
export interface Checkpoint {
  model: ModelSpec
  preprocess: PreprocessSpec
  tokenizer: TokenizerSpec
  /** Vocabulary and merges, parsed; undefined = OpenAI's built-in 49408-entry vocabulary. */
  vocabulary?: {
    vocab: Record<string, number> | Map<string, number>
    merges: string[]
    added?: AddedToken[]
  }
  /** 'huggingface' | 'openai' | 'openclip' | ...: for `clip.info` and messages. */
  family: string
  /** Short descriptions of the contents that are not part of the model. */
  ignored: readonly string[]
  /** The error for an image tower, if its preprocessing is unknown. */
  unknownPreprocess?: ClipError
  /** The error for a text tower, if its tokenizer is unknown. */
  unknownTokenizer?: ClipError
}

/** A checkpoint whose weights have been read. */
export interface NamedCheckpoint extends Checkpoint {
  /** 32 hexadecimal digits: a hash of the values of the weights and of the configuration, whatever files they come from. */
  fingerprint: string
}

/** `readCheckpoint(source, { signal, heads?, activation? })` in index.ts returns this. */
export interface CheckpointOptions {
  signal?: AbortSignal
  /** Attention heads of both towers, for checkpoints that don't state them. */
  heads?: number | { image?: number; text?: number }
  /** Activation, for checkpoints that don't state it. */
  activation?: Activation
  /** The prefix of the model in a file with more than one: `ema`, `state_dict.student`. */
  stateDict?: string
}
