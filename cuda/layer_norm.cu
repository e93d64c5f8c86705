#include "rows.h"

#include "row_work.cuh"

namespace clip::cuda {

// One warp per row, in three passes over the row, which is in the first-level cache after the first.
CLIP_KERNEL(128, clip_layer_norm, const LayerNorm l) {
  const int row = warpRow(), lane = laneOf();
  if (row >= l.rows) return;
  const float* x = floats(l.x, row);
  float sum = 0.f;
  for (int i = lane; i < l.cols; i += 32) sum += x[i];
  const float mean = warpSum(sum) / static_cast<float>(l.cols);
  float variance = 0.f;
  for (int i = lane; i < l.cols; i += 32) {
    const float d = x[i] - mean;
    variance = fmaf(d, d, variance);
  }
  const float scale = 1.f / sqrtf(warpSum(variance) / static_cast<float>(l.cols) + l.epsilon);
  char* y = rowOf(l.y, row);
  for (int i = lane; i < l.cols; i += 32)
    storeNumber(y, l.y.dtype, i, fmaf((x[i] - mean) * scale, l.weight[i], l.bias[i]));
}

// y may be x: a lane writes only where it has read itself.
CLIP_KERNEL(128, clip_normalise, const Normalise n) {
  const int row = warpRow();
  if (row >= n.rows) return;
  const float* x = floats(n.x, row);
  const float length = lengthOf(squares(x, n.cols));
  for (int i = laneOf(); i < n.cols; i += 32) storeNumber(rowOf(n.y, row), Dtype::float32, i, x[i] / length);
}

}  // namespace clip::cuda
