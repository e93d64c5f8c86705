#include "rows.h"

#include "exponential.cuh"
#include "row_work.cuh"

namespace clip::cuda {

// One warp per row: each lane keeps the largest logit of its columns and the sum of exp(logit - largest),
// which are then merged; the gradient is written while the columns are read again. x may be the gradient: a
// lane writes only where it has read itself.
CLIP_KERNEL(128, clip_softmax_cross_entropy, const SoftmaxCrossEntropy s) {
  const int row = warpRow(), lane = laneOf();
  if (row >= s.rows) return;
  const char* const x = rowOf(s.x, row);
  char* const gradient = s.gradient.data ? rowOf(s.gradient, row) : nullptr;
  const int target = s.target[row];
  if (target < 0) {  // this row does not count
    if (lane == 0) s.loss[row] = 0.f;
    if (gradient)
      for (int c = lane; c < s.cols; c += 32) storeNumber(gradient, s.gradient.dtype, c, 0.f);
    return;
  }
  // Read before the lanes combine their sums: afterwards another lane may overwrite it.
  const float own = loadNumber(x, s.x.dtype, target);
  constexpr float kLeast = -INFINITY;
  float most = kLeast, sum = 0.f;
  for (int c = lane; c < s.cols; c += 32) {
    const float v = loadNumber(x, s.x.dtype, c);
    if (v > most) {
      sum = sum * exponential(most - v) + (1.f + (v - v));  // infinity makes it NaN
      most = v;
    } else if (v != kLeast) {
      sum += exponential(v - most);  // NaN if v is
    }
  }
  const float largest = warpMax(most);
  sum = warpSum(most == kLeast ? sum : sum * exponential(most - largest));
  if (lane == 0) s.loss[row] = (largest - own) + logf(sum);
  if (!gradient) return;
  const float inverse = 1.f / sum;
  for (int c = lane; c < s.cols; c += 32) {
    const float p = exponential(loadNumber(x, s.x.dtype, c) - largest) * inverse;
    storeNumber(gradient, s.gradient.dtype, c, (c == target ? p - 1.f : p) * s.scale);
  }
}

}  // namespace clip::cuda
