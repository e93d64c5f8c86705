#pragma once
// The k best of a stream of (value, index) pairs. Compiled without vector targets.
#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace clip {

// A heap whose worst entry is at 0. NaN is better than any number (as in torch.topk), and equal values rank
// by lower index. This is a total order, so the result does not depend on the order in which entries are
// pushed.
struct TopK {
  float* value;
  int32_t* index;
  int capacity, count = 0;

  bool full() const { return count == capacity; }
  void push(float v, int32_t i);
  void push(const TopK&);
  void sort();  // best first; nothing may be pushed afterwards
};

// Ranks the best classes of each of `rows` queries and turns their logits into probabilities. `sums` is
// (blocks, rows) for the whole matrix and is added up in the order of the blocks.
void finishTopK(TopK* best, const TopKSum* sums, int blocks, int rows, Score score);

constexpr int blocksOf(int classes) { return int((int64_t{classes} + kTopKBlock - 1) / kTopKBlock); }

}  // namespace clip
