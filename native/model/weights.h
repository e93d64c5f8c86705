#pragma once
// The weights of a CLIP in the layout that its backend reads: one allocation, packed once, directly from the
// files.
#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend.h"
#include "model/config.h"
#include "model/pack_cache.h"
#include "model/weight_hash.h"

namespace clip {

struct LinearWeight {
  const void* packed = nullptr;  // by Backend::pack
  const float* bias = nullptr;   // (out) or nullptr
  int in = 0, out = 0;
  // the dtype in which it is packed, and the dtype of the rows by which it is multiplied
  Format format = uniform(Dtype::float32);
};

struct NormWeight {
  const float *weight = nullptr, *bias = nullptr;
};

struct BlockWeights {
  NormWeight norm1;
  LinearWeight queryKeyValue;  // one (3 * width, width) matrix; all blocks but the last
  // the last block: only pooled rows have queries, all rows have keys and values
  LinearWeight query, keyValue;
  NormWeight attentionNorm;  // empty without BlocksConfig::innerNorms, like mlpNorm
  LinearWeight out;
  NormWeight norm2;
  LinearWeight fc1;  // with a gate: one (2 * mlp, width) matrix, the gate first
  NormWeight mlpNorm;
  LinearWeight fc2;
};

// Of the images' attention pool.
struct AttentionPoolWeights {
  const float* query = nullptr;  // (width): W_q latent + b_q
  LinearWeight keyValue, out;
  NormWeight norm;
  LinearWeight fc1, fc2;
};

// What both kinds of transformer towers have in common.
struct TransformerWeights {
  const float* position;  // (tokens or context, width)
  NormWeight preNorm;     // empty if there is none
  std::vector<BlockWeights> blocks;
  NormWeight finalNorm;  // empty if there is none
  // The first matrix (hidden, width) of Projection::mlp; the second one is `projection`.
  LinearWeight projectionHidden;
  // (embedDim, width); float32 whatever the model's dtype, like all projections. packed == nullptr if there
  // is none.
  LinearWeight projection;
  AttentionPoolWeights attentionPool;  // of PoolKind::attention
  const float* rope = nullptr;         // (patches, 2 * head), as in Rope, if queries and keys are rotated
};

struct ImageTransformerWeights : TransformerWeights {
  LinearWeight patch;                 // (width, 3 * patch * patch); bfloat16 in an int8 model
  const float* classToken = nullptr;  // (width), if there is one
  // MobileCLIP's stem with its batch norms folded in; `patch` is then (width, 2 * 2 * stem[1].out)
  LinearWeight stem[2];
};

// A dense matrix that is read by single rows.
struct RowTable {
  const void* data = nullptr;
  size_t stride = 0;  // bytes
  Dtype dtype = Dtype::float32;
};

struct TextTransformerWeights : TransformerWeights {
  RowTable token;  // (vocab, width) in its stored dtype
};

// A convolution with its batch norm folded in: w' = w g / sqrt(variance + eps), b' = beta - mean g /
// sqrt(...). 1 x 1 convolutions are linear layers over pixels. Columns are ordered (y, x, channel).
struct BottleneckWeights {
  LinearWeight conv1, conv2, conv3;
  LinearWeight downsample;  // packed == nullptr if the block keeps its size
};

struct ResNetWeights {
  LinearWeight stem[3];
  std::vector<BottleneckWeights> layers[4];
  const float* position;         // (tokens, features), of the attention pool
  LinearWeight query, keyValue;  // only the mean token has a query, unless all tokens are requested
  LinearWeight projection;       // (embedDim, features): the attention pool's output projection
};

struct ConvNextBlockWeights {
  const float *depthwise, *depthwiseBias;  // (7 * 7, width), (width)
  NormWeight norm;
  LinearWeight fc1, fc2;  // fc2 with the layer scale
};

struct ConvNextStageWeights {
  NormWeight norm;          // before the downsampling; empty in the first stage
  LinearWeight downsample;  // (width, 2 * 2 * in) with columns (y, x, channel); in the first stage the stem
  std::vector<ConvNextBlockWeights> blocks;
};

struct ConvNextWeights {
  NormWeight stemNorm;
  ConvNextStageWeights stages[ConvNextConfig::kStages];
  NormWeight headNorm;
  LinearWeight headFc1;     // (headMlp, width) in float32; packed == nullptr if the head is a matrix
  LinearWeight projection;  // (embedDim, width or headMlp)
};

class Weights {
 public:
  // Checks every tensor's presence, shape and range before the first value is read. Then it converts and
  // packs with `threads` threads, or maps what an earlier load has packed; in that case no value of the files
  // is read. Throws Error: ERR_CLIP_CHECKPOINT (with file and tensor), ERR_CLIP_MEMORY; or Cancelled.
  // unloaded: the checkpoint's other towers, which are only read to compute their names, or nullptr.
  Weights(const ModelConfig&, const ModelConfig* unloaded, const Backend&, Dtype, int threads,
          const std::optional<PackCache>& cache, const std::atomic<bool>& cancel);
  ~Weights();
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  std::optional<ImageTransformerWeights> image;
  std::optional<ResNetWeights> resNet;
  std::optional<ConvNextWeights> convNext;
  std::optional<TextTransformerWeights> text;
  WeightNames names;
  PackCacheUse cacheUse = PackCacheUse::off;
  std::string cacheFailure;  // why the cache could not be written; empty if it was

  size_t bytes() const { return bytes_; }  // memory used by the weights

 private:
  const Backend& backend_;
  std::unique_ptr<PackCache::Mapping> mapped_;  // owns the weights if they are mapped, otherwise memory_ does
  void* memory_ = nullptr;
  size_t bytes_ = 0, reserved_ = 0;
};

// Computes the names of all towers without packing them. Throws like Weights.
WeightNames nameWeights(const ModelConfig&, int threads, const std::atomic<bool>& cancel);

}  // namespace clip
