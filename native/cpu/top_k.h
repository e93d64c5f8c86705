#pragma once
// The k best of a stream of (value, index). Compiled without vector targets.
#include <cstdint>

namespace clip {

// A heap with its worst entry at 0. NaN is better than any number (as in torch.topk), equal values rank by
// lower index.
struct TopK {
  float* value;
  int32_t* index;
  int capacity, count = 0;

  bool full() const { return count == capacity; }
  void push(float v, int32_t i);
  void sort();  // best first; no push after it
};

}  // namespace clip
