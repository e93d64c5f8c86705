/** What is known of a checkpoint before its weights are read. */

import type { ClipError } from '../base/errors.js'
import type { Activation, ModelSpec, PreprocessSpec } from '../native/spec.js'
import type { AddedToken } from '../tokenizer/added-tokens.js'
import type { TokenizerSpec } from '../tokenizer/spec.js'

/** Everything `load` learns about a checkpoint before native code is called. */
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
  /** What the files hold beside the model, in a few words each. */
  ignored: readonly string[]
  /** How images become input is not known: what an image tower is refused with. */
  unknownPreprocess?: ClipError
  /** How texts become token ids is not known: what a text tower is refused with. */
  unknownTokenizer?: ClipError
}

/** A checkpoint whose weights have been read. */
export interface NamedCheckpoint extends Checkpoint {
  /** 32 hexadecimal digits of the weights' values and of the configuration: equal for equal results, whatever the file. */
  fingerprint: string
}

/** `readCheckpoint(source, { signal, heads?, activation? })` in index.ts returns this. */
export interface CheckpointOptions {
  signal?: AbortSignal
  /** For checkpoints that do not say: attention heads of both towers. */
  heads?: number | { image?: number; text?: number }
  /** For checkpoints that do not say. */
  activation?: Activation
  /** Where the model is in a file that holds more than one: `ema`, `state_dict.student`. */
  stateDict?: string
}
