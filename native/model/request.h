#pragma once
// What is asked of a model: how it is loaded, and what a pass through its towers gives.
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
  // Where packed weights are kept, the name of the checkpoint in there and what its bytes depend on; no
  // folder: nowhere.
  std::string packFolder = {}, packName = {}, packKey = {};
  // Towers of the checkpoint that are not wanted: they are read once, for their name.
  std::optional<ModelConfig> unloaded = std::nullopt;
};

// Asked between blocks of a tower: true stops the pass (everybody in it has gone away).
using Stopped = std::function<bool()>;

}  // namespace clip
