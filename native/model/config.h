#pragma once
// The dimensions of a CLIP and the location of its tensors: the C++ counterpart of lib/native/spec.ts. Plain
// data, filled by binding/, read by weights.cc and the towers.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "backend.h"

namespace clip {

// One tensor as a strided view of bytes in a file. Strides are in elements.
struct TensorView {
  std::string name;  // as spelled in the checkpoint, for messages
  int file = 0;
  Dtype dtype = Dtype::float32;  // float32, float16, bfloat16 or float64
  std::vector<int64_t> shape, strides;
  uint64_t offset = 0;  // bytes
};

// Residual attention blocks. A layer norm comes before each half of a block (pre-norm), or with postNorm after
// its residual connection: x = LN(x + f(x)).
struct BlocksConfig {
  int width = 0, layers = 0, heads = 0, mlp = 0;
  Activation activation = Activation::quickGelu;
  float layerNormEps = 1e-5f;
  // The MLP's hidden layer is gate(x W_g + b_g) * (x W_1 + b_1), without the activation above.
  std::optional<Gating> gate;
  // Layer norms of the attention's output and of the MLP's hidden layer, before the products that follow.
  bool innerNorms = false;
  bool postNorm = false;
};

// Which rows of a sequence are pooled into its one result.
enum class PoolKind : uint8_t {
  first,      // images: the class token; texts: the first token
  mean,       // images: the mean of the patches, without the class token; texts: the mean of all rows
  attention,  // images: what AttentionPoolConfig describes
  last,       // texts: the last row, which is padding if texts are padded
  argmax,     // texts: the row of the largest id, the first of several
  eos,        // texts: the row of the first end token, or the last row if there is none
};

// The pool of PoolKind::attention; its activation function and epsilon are those of the blocks.
struct AttentionPoolConfig {
  int heads = 0, mlp = 0;
};

// How a pooled row becomes an embedding in the joint space.
enum class Projection : uint8_t {
  none,      // not at all: the tower has no embeddings
  matrix,    // by a matrix, and a bias if there is one
  identity,  // it is the embedding
  mlp,       // texts: by two matrices, see ProjectionMlp
};

// The hidden layer of Projection::mlp.
struct ProjectionMlp {
  int hidden = 0;
  Activation activation = Activation::none;  // none or gelu
};

// What both kinds of transformer towers have in common: embed -> preNorm? -> blocks -> pool -> final norm ->
// project. PoolKind::attention and a mean with normFirst pool rows to which the final norm was applied. Blocks
// with postNorm may have no final norm.
struct TransformerConfig {
  bool preNorm = false;
  Mask mask = Mask::full;  // full or causal
  BlocksConfig blocks;
  PoolKind pool = PoolKind::first;
  bool normFirst = false;
  bool finalNorm = true;
  AttentionPoolConfig attentionPool;
  Projection project = Projection::none;
  ProjectionMlp projectionMlp;
};

// The angles by which queries and keys of patches are rotated. The first half of a head's pairs turns with the
// place along one axis, the second half along the other: pair j of n by (place + offset) / grid * reference *
// 10000^(-j / n). The class token is not rotated.
struct RopeConfig {
  int offset = 0, reference = 0;
  bool columnFirst = false;
};

// Embeds a class token if there is one, followed by the patches of a square image. If the side is not a
// multiple of the patch size, the rest at the right and at the bottom is not used.
struct ImageTransformerConfig : TransformerConfig {
  int imageSize = 0, patchSize = 0;
  bool classToken = true;
  bool classPosition = true;  // whether the class token has a position
  // MobileCLIP's stem: patches of 16 x 16 are embedded by three products with GELU between them, of 4 x 4 pixels and
  // twice of 2 x 2 of the results, whose widths these are; 0: by a single product.
  int stem[2] = {0, 0};
  static constexpr int kStemPatch = 4;
  std::optional<RopeConfig> rope;
  int grid() const { return imageSize / patchSize; }
  int patches() const { return grid() * grid(); }
  int tokens() const { return (classToken ? 1 : 0) + patches(); }
};

// Embeds the ids of a text.
struct TextTransformerConfig : TransformerConfig {
  int contextLength = 0, vocabSize = 0;
  // every text is padded with it to the context length; without it, a text consists of its own ids only
  std::optional<int> padId;
  // ids that no row attends to: they are removed from texts
  std::optional<int> maskedId;
  int endId = 0;         // the token that PoolKind::eos looks for
  float tokenScale = 1;  // token embeddings are multiplied by it
  // The first of the sinusoids that are the positions, as in M2M100; without it, positions are learned.
  std::optional<int> sinusoid;
};

// "ModifiedResNet": a ResNet-D with three stem convolutions, anti-aliased strides and attention pooling.
struct ResNetConfig {
  int imageSize = 0, width = 0, layers[4] = {0, 0, 0, 0}, heads = 0;
  int grid() const { return imageSize / 32; }
  int tokens() const { return 1 + grid() * grid(); }
  int features() const { return 32 * width; }                           // channels of the last feature map
  int lastSide() const { return (imageSize + 1) / 2 / 2 / 2 / 2 / 2; }  // of the last feature map
};

// ConvNeXt: a stem of patches, then four stages of blocks with a depthwise 7 x 7 convolution, each stage at half the
// side of the one before it; the mean of the last feature map is normed and projected.
struct ConvNextConfig {
  static constexpr int kStages = 4;
  int imageSize = 0, patchSize = 0;
  struct Stage {
    int width = 0, layers = 0, mlp = 0;
  } stages[kStages];
  float layerNormEps = 1e-6f;
  int headMlp = 0;  // hidden width of the head; 0: the head is a matrix
  // Of a stage's feature map. A rest at the right and at the bottom is not used.
  int side(int stage) const { return imageSize / patchSize >> stage; }
  int pixels(int stage) const { return side(stage) * side(stage); }
  int width() const { return stages[kStages - 1].width; }
  int tokens() const { return pixels(kStages - 1); }
};

struct PreprocessConfig {
  int size = 0;
  Filter filter = Filter::bicubic;
  enum Mode : uint8_t { shortest, squash, longest } mode = shortest;
  float mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
};

struct ModelConfig {
  std::vector<std::string> files;
  std::vector<uint64_t> fileBytes;
  int embedDim = 0;                             // 0: no tower has a projection
  std::optional<ImageTransformerConfig> image;  // one of these three, or none
  std::optional<ResNetConfig> resNet;
  std::optional<ConvNextConfig> convNext;
  std::optional<TextTransformerConfig> text;
  std::map<std::string, TensorView> tensors;
  PreprocessConfig preprocess;

  bool hasImageTower() const { return image || resNet || convNext; }
  int imageSize() const {
    return image ? image->imageSize : resNet ? resNet->imageSize : convNext->imageSize;
  }
  int imageTokens() const { return image ? image->tokens() : resNet ? resNet->tokens() : convNext->tokens(); }
  // The width of 'pooled' and 'tokens'.
  int imageWidth() const {
    return image ? image->blocks.width : resNet ? resNet->features() : convNext->width();
  }
  Projection imageProjection() const { return image ? image->project : Projection::matrix; }
};

// Does not trust its caller: throws ERR_CLIP_CONFIG with the field's name unless every dimension is positive,
// the heads divide the width, and sizes are so small that no product of them overflows.
void checkConfig(const ModelConfig&);
void checkPreprocess(const PreprocessConfig&);

// The same for texts, before they are queued with those of other calls: throws ERR_CLIP_INPUT unless every
// length and every token id is valid for this tower. Otherwise the tower would read past the end of a table.
void checkTexts(const TextTransformerConfig&, const std::vector<int32_t>& ids,
                const std::vector<int32_t>& lengths);

}  // namespace clip
