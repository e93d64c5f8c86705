#pragma once
// The k best of a stream of (value, index). Compiled without vector targets.
#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace clip {

// A heap with its worst entry at 0. NaN is better than any number (as in torch.topk), equal values rank by
// lower index: a total order, so that it does not matter in which order entries are pushed.
struct TopK {
  float* value;
  int32_t* index;
  int capacity, count = 0;

  bool full() const { return count == capacity; }
  void push(float v, int32_t i);
  void push(const TopK&);
  void sort();  // best first; no push after it
};

// Ranks the best of each of `rows` queries, and makes probabilities of their logits. `sums` is (blocks, rows)
// over the whole matrix, added up in the order of the blocks.
void finishTopK(TopK* best, const TopKSum* sums, int blocks, int rows, Score score);

constexpr int blocksOf(int classes) { return int((int64_t{classes} + kTopKBlock - 1) / kTopKBlock); }

}  // namespace clip
