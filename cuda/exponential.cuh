#pragma once
// The exponential of numbers that are at most 0.
#include "rows.cuh"

namespace clip::cuda {

// e^x for x <= 0, accurate to about three units in the last place.
__device__ __forceinline__ float exponential(float x) {
  if (x < -104.f) return 0.f;
  const float n = rintf(x * kLog2E);
  const float rest = fmaf(n, 1.42860677e-6f, fmaf(n, -0.693148613f, x));  // x - n ln 2
  return exp2Approx(n) * exp2Approx(rest * kLog2E);
}

}  // namespace clip::cuda
