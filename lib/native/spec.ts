/**
 * The description of a model that checkpoint readers pass to native code: the architecture as plain numbers, and the location
 * of each tensor's bytes. Readers (safetensors, OpenAI .pt, OpenCLIP) only parse headers; no weight passes through
 * JavaScript. Native code checks every range again before it reads.
 */

/** One of the two encoders of a CLIP model. */
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
  /** In elements. A [width, embed] projection becomes [embed, width] as a transposed view. */
  strides: number[]
  /** Byte offset of element [0, 0, ...] in the file. */
  offset: number
}

/** The activation function of the MLPs: OpenAI's `x * sigmoid(1.702 x)`, the exact GELU, or its tanh form. */
export type Activation = 'quickGelu' | 'gelu' | 'geluTanh'

/** Residual attention blocks, layer norm first or (postNorm) last. Tensor names below are those of {@link ModelSpec.tensors}. */
export interface BlocksSpec {
  width: number
  layers: number
  heads: number
  /** Hidden width of the MLP. */
  mlp: number
  activation: Activation | 'relu'
  layerNormEps: number
  /** The MLP's hidden layer is gate(x W_g + b_g) * (x W_1 + b_1), in place of activation(x W_1 + b_1). */
  gate?: 'silu' | 'gelu'
  /** Layer norms of the attention's output and of the MLP's hidden layer (EVA-02); with a gate only. */
  innerNorms?: boolean
  /** Layer norms come after the residual connections, as in BERT: x = LN(x + f(x)). Texts only. */
  postNorm?: boolean
}

/**
 * Rotary embedding of patches: half of a head's pairs of neighbours turns with the row and half with the column, pair j of n
 * by (place + offset) / grid * reference * 10000 ** (-j / n).
 */
export interface RopeSpec {
  offset: number
  /** The patches per side for which the angles were made. */
  reference: number
  /** The axis of the first half. */
  first: 'row' | 'column'
}

/** A class token if there is one, then the patches of a square image, with learned positions. */
export interface PatchEmbed {
  kind: 'patches'
  /** If it is not a multiple of patchSize, the remaining pixels at the right and at the bottom are not used. */
  imageSize: number
  patchSize: number
  classToken: boolean
  /** Whether the class token has a position; default true. */
  classPosition?: boolean
  /** MobileCLIP's stem: widths of two products of 4 x 4 pixels, and of 2 x 2 of the results, before that of the patches. */
  stem?: [number, number]
  /** How queries and keys of patches are rotated, if they are. */
  rope?: RopeSpec
}

/** Embeddings of a text's token ids, with positions. */
export interface TokenEmbed {
  kind: 'tokens'
  vocabSize: number
  contextLength: number
  /** Every text is padded to contextLength with this id. Without it, texts are not padded. */
  padId?: number
  /** The id of the pad token of towers that mask it: texts are computed without these ids. */
  maskedId?: number
  /** Token embeddings are multiplied by it (1 if absent). */
  tokenScale?: number
  /** Positions are M2M100's sinusoids, beginning with this position id; if absent, they are learned. */
  sinusoid?: number
  /** The end token that `pool: 'eos'` searches for. */
  endId?: number
}

/**
 * A transformer tower, in the order in which it computes: embed, layer norm (preNorm), blocks, pool, layer norm,
 * projection into the joint space (project).
 *
 * Native code uses this (native/model/text_transformer.h): under the causal mask no row depends on later rows, so texts are cut
 * after the row that the pool reads, and texts with a common beginning share its rows.
 */
export interface TransformerSpec<Embed extends PatchEmbed | TokenEmbed = PatchEmbed | TokenEmbed> {
  kind: 'transformer'
  embed: Embed
  preNorm: boolean
  /** The rows that a row attends to: all rows of its image or text, or itself and the rows before it. */
  mask: 'full' | 'causal'
  blocks: BlocksSpec
  /**
   * Images: 'first', the class token; 'mean', the mean of the patches without it; 'attention', see attentionPool. Texts:
   * 'first', the first token; 'mean', the mean of all tokens;
   * 'last', the last row (of padded texts, the last position); 'argmax', the first largest id; 'eos', the first end token.
   */
  pool: 'first' | 'mean' | 'attention' | 'last' | 'argmax' | 'eos'
  /** The final layer norm is applied to all rows before 'mean' pools them ('attention' always does so). Images only. */
  normFirst?: boolean
  /** False: there is no layer norm after the blocks (only where blocks have postNorm). */
  finalNorm?: boolean
  /**
   * SigLIP's pool: the attention of one query to all rows, then an MLP with a residual connection; activation and epsilon as
   * in the blocks.
   */
  attentionPool?: { heads: number; mlp: number }
  /**
   * How a pooled row becomes an embedding: by a matrix, unchanged, by two matrices (texts only), or not at all (if the
   * checkpoint has no joint space).
   */
  project: 'matrix' | 'identity' | 'mlp' | 'none'
  /** With project 'mlp': the numbers and the activation between the two matrices. */
  projectionMlp?: { hidden: number; activation: 'none' | 'gelu' }
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

/** ConvNeXt: a stem of patches and four stages, each at half the side of the one before; the normed mean is projected. */
export interface ConvNextSpec {
  kind: 'convNext'
  imageSize: number
  patchSize: number
  stages: { width: number; layers: number; mlp: number }[]
  layerNormEps: number
  /** Hidden width of the head, if that is an MLP and not a matrix. */
  headMlp?: number
}

export type ImageTowerSpec = TransformerSpec<PatchEmbed> | ModifiedResNetSpec | ConvNextSpec
export type TextTowerSpec = TransformerSpec<TokenEmbed>

/** How a cosine becomes a probability: the softmax over the texts, or the sigmoid of each pair, of scale * cosine + bias. */
export interface Scoring {
  kind: 'softmax' | 'sigmoid'
  /** exp of the stored parameter: 100 for OpenAI's models. */
  scale: number
  /** 0 if the checkpoint has none, as with every 'softmax'. */
  bias: number
}

/**
 * Canonical tensor names (shape), `{i}` from 0. Linear weights are (out, in).
 *
 * image (transformer):
 *   image.class (width), with classToken     image.patch.weight (width, 3, patch, patch)
 *   image.position ([1 +] patches, width)    image.preNorm.weight / .bias (width), with preNorm
 *   image.postNorm.weight / .bias            image.projection (embedDim, width), with project 'matrix'
 *   with pool 'attention': image.pool.latent (width)   image.pool.norm.weight / .bias
 *   image.pool.query / .key / .value / .out .weight (width, width) / .bias   image.pool.fc1 / .fc2 as in the blocks
 *   with a stem (s1, s2): image.stem.conv1.weight (s1, 4, 3, 4), dimensions (out, x, channel, y)   image.stem.bn1.*
 *   image.stem.conv2.weight (s2, s1, 2, 2)   image.stem.bn2.*   image.patch.weight (width, 2, 2, s2) / .bias
 *   without classPosition: image.position (patches, width)
 * image (modifiedResNet, width w; layer n has planes p = w * 2^(n - 1), its input is in(n, i)):
 *   image.stem.conv1.weight (w/2, 3, 3, 3)   image.stem.conv2.weight (w/2, w/2, 3, 3)   image.stem.conv3.weight (w, w/2, 3, 3)
 *   image.stem.bn{1,2,3}.weight / .bias / .mean / .variance
 *   image.layer{n}.{i}.conv1.weight (p, in, 1, 1)  .conv2.weight (p, p, 3, 3)  .conv3.weight (4p, p, 1, 1)  .bn{1,2,3}.*
 *   image.layer{n}.0.downsample.conv.weight (4p, in, 1, 1)   .downsample.bn.*
 *   image.pool.position (1 + (imageSize / 32)^2, 32w)
 *   image.pool.query / .key / .value .weight (32w, 32w) / .bias   image.pool.out.weight (embedDim, 32w) / .bias
 * image (convNext, stage n has the width w(n)):
 *   image.stem.weight (w(1), 3, patch, patch) / .bias   image.stem.norm.weight / .bias
 *   image.stage{n}.downsample.norm.* and .downsample.weight (w(n), 2, 2, w(n - 1)) / .bias, from n = 2
 *   image.stage{n}.{i}.depthwise.weight (7, 7, w(n)) / .bias   .norm.*   .fc1.*   .fc2.*   .fc2.scale (w(n))
 *   image.postNorm.*   image.head.fc1.*, with headMlp   image.projection (embedDim, w(4) or headMlp)
 * text:
 *   text.token (vocab, width)                text.position (context, width)
 *   text.finalNorm.weight / .bias            text.projection (embedDim, width), with project 'matrix'
 *   text.preNorm.weight / .bias, with preNorm   text.tokenType (width), optional: added to each position
 *   with project 'mlp': text.projection.hidden.weight (hidden, width) / .bias, optional; text.projection (embedDim, hidden)
 *   with sinusoid: no text.position
 * both, prefix image.blocks.{i} or text.blocks.{i}:
 *   .norm1.weight / .bias   .query.weight / .bias   .key.weight / .bias   .value.weight / .bias
 *   .out.weight / .bias     .norm2.weight / .bias   .fc1.weight / .bias   .fc2.weight / .bias
 * with gate: .gate.weight (mlp, width) / .bias; with innerNorms: .attentionNorm.weight / .bias (width), .mlpNorm.* (mlp)
 * Optional: query, key and value biases of blocks; .out.scale and .fc2.scale (width), layer scales; image.patch.bias, image.projection.bias, text.projection.bias (a few OpenCLIP models).
 */
export interface ModelSpec {
  /** Absolute paths. */
  files: string[]
  /** Size of each file in bytes when its header was read; it is an error if the size differs when the weights are read. */
  fileBytes: number[]
  /** Width of the joint space; 0 where the checkpoint has no projection into one. */
  embedDim: number
  /** Absent where the checkpoint has no logit_scale. */
  scoring?: Scoring
  image?: ImageTowerSpec
  text?: TextTowerSpec
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

/**
 * Whether texts are pooled at their first end token rather than at the largest id. If the end token is the last of the
 * vocabulary, both are the same.
 */
export function embedsFirstEnd({ pool, embed }: TextTowerSpec): boolean {
  return pool === 'eos' && embed.endId !== undefined && embed.endId + 1 !== embed.vocabSize
}

/** Width and height of an image tower's input in pixels. */
export const imageSizeOf = (image: ImageTowerSpec): number =>
  image.kind === 'transformer' ? image.embed.imageSize : image.imageSize
