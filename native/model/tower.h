#pragma once
// What a tower needs to run one pass, and what it gives.
#include "model/arena.h"
#include "model/model.h"
#include "model/weights.h"

namespace clip {

struct Pass {
  const Backend& backend;
  Context& context;
  Arena& arena;
  Dtype dtype;
  Output output;
  bool normalise;  // every row that comes out
  const Stopped& stopped;
};

// Rows of float32 on this side.
class HostRows {
 public:
  HostRows(const Backend& backend, const Activations& rows, int count)
      : stride_(rows.stride / sizeof(float)) {
    values_.resize(static_cast<size_t>(count) * stride_);
    backend.download(values_.data(), rows.data, values_.size() * sizeof(float));
  }
  const float* row(int r) const { return values_.data() + static_cast<size_t>(r) * stride_; }

 private:
  size_t stride_;
  std::vector<float> values_;
};

}  // namespace clip
