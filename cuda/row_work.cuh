#pragma once
// The row of this warp, and its sum of squares.
#include "rows.cuh"

namespace clip::cuda {

__device__ __forceinline__ int warpRow() {
  return static_cast<int>(blockIdx.x * (blockDim.x / 32) + (threadIdx.x >> 5));
}
__device__ __forceinline__ int laneOf() { return static_cast<int>(threadIdx.x & 31); }
__device__ __forceinline__ const float* floats(const MatrixView& a, int r) {
  return reinterpret_cast<const float*>(rowOf(a, r));
}

// The sum of x * x over a row; it has the same bits at every address.
__device__ __forceinline__ float squares(const float* x, int n) {
  float sum = 0.f;
  for (int i = laneOf(); i < n; i += 32) sum = fmaf(x[i], x[i], sum);
  return warpSum(sum);
}
// max(|x|, 1e-12), given x · x. NaN stays NaN.
__device__ __forceinline__ float lengthOf(float squared) {
  const float root = sqrtf(squared);
  return root < 1e-12f ? 1e-12f : root;
}

}  // namespace clip::cuda
