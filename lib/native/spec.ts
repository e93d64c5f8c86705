/**
 * What a checkpoint reader hands to native code: the architecture as plain numbers, and a table that says where each
 * tensor's bytes lie. Readers (safetensors, OpenAI .pt, OpenCLIP) only parse headers; no weight passes through
 * JavaScript. Native code checks every range again before it reads.
 */

/** An encoder: of images or of texts. */
export type Tower = 'image' | 'text'

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

/** How images become the image tower's input; from the checkpoint's preprocessor configuration. */
export interface PreprocessSpec {
  /** Target of resize (shortest edge) and the side of the centre crop, in pixels. */
  size: number
  interpolation: 'nearest' | 'bilinear' | 'bicubic'
  /** shortest: resize the shortest edge, then centre crop (OpenAI). squash: both edges, no crop. longest: pad. */
  mode: 'shortest' | 'squash' | 'longest'
  mean: [number, number, number]
  std: [number, number, number]
}
