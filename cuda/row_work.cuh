#pragma once
// The row of this warp.
#include "rows.cuh"

namespace clip::cuda {

__device__ __forceinline__ int warpRow() {
  return static_cast<int>(blockIdx.x * (blockDim.x / 32) + (threadIdx.x >> 5));
}
__device__ __forceinline__ int laneOf() { return static_cast<int>(threadIdx.x & 31); }
__device__ __forceinline__ const float* floats(const MatrixView& a, int r) {
  return reinterpret_cast<const float*>(rowOf(a, r));
}

// Sum of x * x over a row; the same bits wherever the row lies.
__device__ __forceinline__ float squares(const float* x, int n) {
  float sum = 0.f;
  for (int i = laneOf(); i < n; i += 32) sum = fmaf(x[i], x[i], sum);
  return warpSum(sum);
}
// max(|x|, 1e-12) from x · x; NaN stays NaN.
__device__ __forceinline__ float lengthOf(float squared) {
  const float root = sqrtf(squared);
  return root < 1e-12f ? 1e-12f : root;
}

}  // namespace clip::cuda
