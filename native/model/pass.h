#pragma once
// The inputs of a tower for one pass, and its results.
#include "model/arena.h"
#include "model/request.h"
#include "model/weights.h"

namespace clip {

struct Pass {
  const Backend& backend;
  Context& context;
  Arena& arena;
  Dtype dtype;
  Output output;
  bool normalise;  // scale every result row to length 1
  const Stopped& stopped;
};

// Identifies the graph of this pass. `calls`: everything specific to the tower, other than the sizes, on
// which its calls depend.
inline GraphKey graphKeyOf(const Pass& pass, GraphKey::Tower tower, int rows, int sequences, int longest,
                           uint32_t calls) {
  const Arena::Place place = pass.arena.place();
  return {.tower = tower,
          .rowsBucket = rows,
          .sequencesBucket = sequences,
          .longest = longest,
          .variant = calls * 8 + static_cast<uint32_t>(pass.output) * 2 + (pass.normalise ? 1 : 0),
          .memory = place.memory,
          .memoryBytes = place.bytes};
}

// Rows of float32 in memory of this process.
class HostRows {
 public:
  HostRows(const Pass& pass, const MatrixView& rows, int count, int columns)
      : stride_(rows.stride / sizeof(float)), columns_(columns) {
    values_.resize(static_cast<size_t>(count) * stride_);
    pass.backend.download(&pass.context, values_.data(), rows.data, values_.size() * sizeof(float));
  }
  const float* row(int r) const { return values_.data() + static_cast<size_t>(r) * stride_; }
  int columns() const { return columns_; }

 private:
  size_t stride_;
  int columns_;
  std::vector<float> values_;
};

}  // namespace clip
