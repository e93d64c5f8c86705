/**
 * What a checkpoint reader hands to native code: the architecture as plain numbers, and a table that says where each
 * tensor's bytes lie. Readers (safetensors, OpenAI .pt, OpenCLIP) only parse headers; no weight passes through
 * JavaScript. Native code checks every range again before it reads.
 */

import type { ClipError } from '../errors.js'
import type { AddedToken } from '../tokenizer/added-tokens.js'

export type TensorDtype = 'F32' | 'F16' | 'BF16' | 'F64'

/** One tensor as a strided view of bytes in a file. */
export interface TensorView {
  /** The name in the checkpoint, for error messages. */
  name: string
  /** Index into {@link ModelSpec.files}. */
  file: number
  dtype: TensorDtype
  shape: number[]
  /** In elements. A transposed view is how [width, embed] projections become [embed, width]. */
  strides: number[]
  /** Byte offset of element [0, 0, ...] in the file. */
  offset: number
}

/** The nonlinearity of the MLPs: OpenAI's `x * sigmoid(1.702 x)`, or the exact GELU. */
export type Activation = 'quickGelu' | 'gelu'

/** What both transformers have. Tensor names below are those of {@link ModelSpec.tensors}. */
export interface TransformerSpec {
  width: number
  layers: number
  heads: number
  /** Hidden width of the MLP. */
  mlp: number
  activation: Activation
  layerNormEps: number
}

export interface VisionTransformerSpec extends TransformerSpec {
  kind: 'vit'
  imageSize: number
  patchSize: number
}

/** OpenAI's ModifiedResNet. Batch norms have eps 1e-5; the four layers have strides 1, 2, 2, 2. */
export interface ModifiedResNetSpec {
  kind: 'modifiedResNet'
  /** A multiple of 32. */
  imageSize: number
  /** Planes of layer1; the attention pool's width is 32 times that. */
  width: number
  /** Bottlenecks of layer1 to layer4. */
  layers: [number, number, number, number]
  /** Of the attention pool. */
  heads: number
}

export interface TextTransformerSpec extends TransformerSpec {
  contextLength: number
  vocabSize: number
}

/**
 * Canonical tensor names (shape), `{i}` from 0. Linear weights are (out, in).
 *
 * image (vit):
 *   image.class (width)                      image.patch.weight (width, 3, patch, patch)
 *   image.position (1 + patches, width)      image.preNorm.weight / .bias (width)
 *   image.postNorm.weight / .bias            image.projection (embedDim, width)
 * image (modifiedResNet, width w; layer n has planes p = w * 2^(n - 1), its input is in(n, i)):
 *   image.stem.conv1.weight (w/2, 3, 3, 3)   image.stem.conv2.weight (w/2, w/2, 3, 3)   image.stem.conv3.weight (w, w/2, 3, 3)
 *   image.stem.bn{1,2,3}.weight / .bias / .mean / .variance
 *   image.layer{n}.{i}.conv1.weight (p, in, 1, 1)  .conv2.weight (p, p, 3, 3)  .conv3.weight (4p, p, 1, 1)  .bn{1,2,3}.*
 *   image.layer{n}.0.downsample.conv.weight (4p, in, 1, 1)   .downsample.bn.*
 *   image.pool.position (1 + (imageSize / 32)^2, 32w)
 *   image.pool.query / .key / .value .weight (32w, 32w) / .bias   image.pool.out.weight (embedDim, 32w) / .bias
 * text:
 *   text.token (vocab, width)                text.position (context, width)
 *   text.finalNorm.weight / .bias            text.projection (embedDim, width)
 * both, prefix image.blocks.{i} or text.blocks.{i}:
 *   .norm1.weight / .bias   .query.weight / .bias   .key.weight / .bias   .value.weight / .bias
 *   .out.weight / .bias     .norm2.weight / .bias   .fc1.weight / .bias   .fc2.weight / .bias
 * Optional: image.patch.bias, image.projection.bias, text.projection.bias (a few OpenCLIP models); image.projection and
 * text.projection (towers that were saved without a joint space).
 */
export interface ModelSpec {
  /** Absolute paths. */
  files: string[]
  /** Size of each file in bytes when its header was read; another size at mapping time is an error. */
  fileBytes: number[]
  /** Width of the joint space; 0 where the checkpoint has no projection into one. */
  embedDim: number
  /** exp of the stored parameter: 100 for OpenAI's models. Absent where the checkpoint has none. */
  logitScale?: number
  image?: VisionTransformerSpec | ModifiedResNetSpec
  text?: TextTransformerSpec
  tensors: Record<string, TensorView>
}

/** How pictures become the image tower's input; from the checkpoint's preprocessor configuration. */
export interface PreprocessSpec {
  /** Target of resize (shortest edge) and the side of the centre crop, in pixels. */
  size: number
  interpolation: 'nearest' | 'bilinear' | 'bicubic'
  /** shortest: resize the shortest edge, then centre crop (OpenAI). squash: both edges, no crop. longest: pad. */
  mode: 'shortest' | 'squash' | 'longest'
  mean: [number, number, number]
  std: [number, number, number]
}

/** How texts become token ids. */
export interface TokenizerSpec {
  contextLength: number
  /** The end token pools the text tower. `argmax`: at the largest id (OpenAI; Hugging Face with eos_token_id 2). */
  pooling: 'argmax' | 'eos'
  /** Defaults come from the checkpoint's family; OpenAI's cleaning unless the caller says otherwise. */
  family: 'openai' | 'huggingface' | 'openclip'
  /** What `clip.tokenize` pads with; undefined = 0 for OpenAI and OpenCLIP, the end token for Hugging Face. */
  padId?: number
}

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
  /** The end token that the configuration names. */
  endId?: number
  /** What the files hold beside the model, in a few words each. */
  ignored: readonly string[]
  /** How pictures become input is not known: what an image tower is refused with. */
  unknownPreprocess?: ClipError
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

/**
 * Whether texts are pooled at their first end token rather than at the largest id. Where the end token is the last of
 * the vocabulary, both are one.
 */
export function embedsFirstEnd({ tokenizer, model, endId }: Checkpoint): boolean {
  return tokenizer.pooling === 'eos' && endId !== undefined && endId + 1 !== model.text?.vocabSize
}
