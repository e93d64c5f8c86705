#pragma once
// Hashes of a tower's weights, used as names: equal if the float32 values are equal, whatever their order,
// dtype and file. They do not protect against malice: whoever can construct two checkpoints with one name
// could just as well rename one.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace clip {

// Names of the towers that were read: 32 hexadecimal digits each; empty if there is no such tower.
struct WeightNames {
  std::string image, text;
};

// A sum over rows, so that threads may add rows in any order. Each row of float32 enters with its tensor's
// canonical name and its row number.
class WeightHash {
 public:
  struct Sum {
    uint64_t low = 0, high = 0;
    void add(const Sum& other) { low += other.low, high += other.high; }
  };

  static uint64_t seedOf(const std::string& tensor);
  static Sum row(uint64_t seed, int64_t row, const float* values, size_t count);
  // The sum of `count` rows from `first` on, which are `stride` floats apart.
  static Sum rows(uint64_t seed, int64_t first, int64_t count, const float* values, size_t stride,
                  size_t columns);

  // `tensor`: a canonical name, which begins with the name of its tower.
  void add(const std::string& tensor, const Sum& sum);
  WeightNames names() const;
  void clear() { image_ = {}, text_ = {}; }

 private:
  Sum image_, text_;
};

}  // namespace clip
