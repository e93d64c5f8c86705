#pragma once
// Names for the values of a tower's weights: equal for equal float32 values, in whatever order, dtype and
// file they lie. Not against malice: who can make two checkpoints with one name can as well rename one.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace clip {

// Names of the towers that have been read: 32 hexadecimal digits each, empty for a tower that is not there.
struct WeightNames {
  std::string image, text;
};

// A sum over rows, so that threads may add them as they come. Rows of float32, each with its tensor's
// canonical name and its number.
class WeightHash {
 public:
  struct Sum {
    uint64_t low = 0, high = 0;
    void add(const Sum& other) { low += other.low, high += other.high; }
  };

  static uint64_t seedOf(const std::string& tensor);
  static Sum row(uint64_t seed, int64_t row, const float* values, size_t count);
  // `count` rows from `first` on, `stride` floats apart.
  static Sum rows(uint64_t seed, int64_t first, int64_t count, const float* values, size_t stride,
                  size_t columns);

  // `tensor`: canonical names begin with the tower's.
  void add(const std::string& tensor, const Sum& sum);
  WeightNames names() const;
  void clear() { image_ = {}, text_ = {}; }

 private:
  Sum image_, text_;
};

}  // namespace clip
