#pragma once
// The weights of a CLIP in the layout its backend reads: one allocation, packed once, straight from the
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
  Format format = uniform(Dtype::float32);  // as it is packed, and of the rows that it is multiplied with
};

struct NormWeight {
  const float *weight = nullptr, *bias = nullptr;
};

struct BlockWeights {
  NormWeight norm1;
  LinearWeight queryKeyValue;    // one (3 * width, width) matrix; all blocks but the last
  LinearWeight query, keyValue;  // the last block: only pooled rows ask, all rows answer
  LinearWeight out;
  NormWeight norm2;
  LinearWeight fc1, fc2;
};

// What both kinds of transformer towers have.
struct TransformerWeights {
  const float* position;  // (tokens or context, width)
  NormWeight preNorm;     // without it there is none
  std::vector<BlockWeights> blocks;
  NormWeight finalNorm;
  // (embedDim, width); float32 whatever the model's dtype, as all projections. packed == nullptr: there is
  // none
  LinearWeight projection;
};

struct ImageTransformerWeights : TransformerWeights {
  LinearWeight patch;       // (width, 3 * patch * patch); bfloat16 in an int8 model
  const float* classToken;  // (width)
};

// A dense matrix of which single rows are read.
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
  LinearWeight downsample;  // packed == nullptr: the block keeps its size
};

struct ResNetWeights {
  LinearWeight stem[3];
  std::vector<BottleneckWeights> layers[4];
  const float* position;         // (tokens, features): of the attention pool
  LinearWeight query, keyValue;  // only the mean token asks, unless all tokens are wanted
  LinearWeight projection;       // (embedDim, features): the attention pool's output projection
};

class Weights {
 public:
  // Checks every tensor's presence, shape and range before the first value is read; then converts and packs
  // with `threads` threads, or maps what an earlier load has packed: then no value of the files is read.
  // Throws Error: ERR_CLIP_CHECKPOINT (file and tensor named), ERR_CLIP_MEMORY; Cancelled.
  // unloaded: the checkpoint's other towers, which are only read for their names, or nullptr.
  Weights(const ModelConfig&, const ModelConfig* unloaded, const Backend&, Dtype, int threads,
          const std::optional<PackCache>& cache, const std::atomic<bool>& cancel);
  ~Weights();
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  std::optional<ImageTransformerWeights> image;
  std::optional<ResNetWeights> resNet;
  std::optional<TextTransformerWeights> text;
  WeightNames names;
  PackCacheUse cacheUse = PackCacheUse::off;
  std::string cacheFailure;  // why the cache could not be written

  size_t bytes() const { return bytes_; }  // of memory that the weights use

 private:
  const Backend& backend_;
  std::unique_ptr<PackCache::Mapping> mapped_;  // where the weights lie, or memory_
  void* memory_ = nullptr;
  size_t bytes_ = 0, reserved_ = 0;
};

// The names of all towers without packing them. Throws as Weights does.
WeightNames nameWeights(const ModelConfig&, int threads, const std::atomic<bool>& cancel);

}  // namespace clip
