#pragma once
// The options with which a model is loaded, and the kinds of output of a pass through its towers.
#include <functional>
#include <optional>
#include <string>

#include "backend.h"
#include "model/config.h"

namespace clip {

enum class Output : uint8_t {
  embedding,  // joint space (embedDim)
  pooled,     // the pooled token after its last layer norm, before the projection (width)
  tokens,     // every token after the last layer norm (tokens, width)
};

struct LoadOptions {
  std::string device = "auto";
  Dtype dtype = Dtype::float32;
  int threads = 1;
  int maxBatchRows = 512;
  // The folder for packed weights, the file's name for this checkpoint, and a key of everything on which its
  // bytes depend; an empty folder turns the cache off.
  std::string packFolder = {}, packName = {}, packKey = {};
  // Towers of the checkpoint that are not needed: their weights are only read to compute their names.
  std::optional<ModelConfig> unloaded = std::nullopt;
};

// Called between the blocks of a tower: true stops the pass (all of its jobs were cancelled).
using Stopped = std::function<bool()>;

}  // namespace clip
