#pragma once
// The operations after a product's sum: bias, activation, residual, rounding.
#include "rows.cuh"

namespace clip::cuda {

__device__ __forceinline__ float activate(Activation n, float v) {
  switch (n) {
    case Activation::none:
    case Activation::relu:
      return v;  // relu is applied after the residual
    case Activation::quickGelu:
      return v * reciprocalApprox(1.f + exp2Approx(-1.702f * kLog2E * v));
    case Activation::gelu:
      return 0.5f * v * erfcf(v * -0.70710678118654752f);
    case Activation::geluTanh:  // 0.5 v (1 + tanh(u)) = v / (1 + exp(-2u))
      return v * reciprocalApprox(1.f + exp2Approx(v * kLog2E * fmaf(v * v, -0.0713548163f, -1.59576912f)));
    case Activation::sigmoid:
      return reciprocalApprox(1.f + exp2Approx(-kLog2E * v));
  }
  return v;
}

__device__ __forceinline__ float relu(float v) { return v < 0.f ? 0.f : v; }  // NaN stays NaN

__device__ __forceinline__ float finish(const Linear& l, int row, int o, float v) {
  if (l.bias) v += l.bias[o];
  v = activate(l.activation, v);
  if (l.residual.data) v += reinterpret_cast<const float*>(rowOf(l.residual, row))[o];
  return l.activation == Activation::relu ? relu(v) : v;
}

// Stores outputs o and o + 1 of a row, where o is even; the second only if it exists.
__device__ __forceinline__ void storePair(const MatrixView& y, int row, int o, bool both, float v0,
                                          float v1) {
  char* to = rowOf(y, row);
  if (both && y.dtype != Dtype::float32) {
    reinterpret_cast<uint32_t*>(to)[o / 2] =
        y.dtype == Dtype::bfloat16 ? storedHalves<Bfloat16>(v0, v1) : storedHalves<Float16>(v0, v1);
  } else {
    storeNumber(to, y.dtype, o, v0);
    if (both) storeNumber(to, y.dtype, o + 1, v1);
  }
}

__device__ __forceinline__ void finishPair(const Linear& l, int row, int o, float v0, float v1) {
  if (row >= l.rows || o >= l.out) return;
  const bool both = o + 1 < l.out;
  storePair(l.y, row, o, both, finish(l, row, o, v0), both ? finish(l, row, o + 1, v1) : 0.f);
}

// Passes a block's sums through shared memory as (rows, columns) of float32. The epilogue is then a single
// loop in which warps write whole rows, instead of a copy of its code for every sum of a thread.
template <int kColumns>
struct SumTile {
  // Pairs of numbers: half a warp stores 4 rows of 8 columns at once, without bank conflicts.
  static __device__ __forceinline__ int at(int r, int c) { return r * kColumns + (c ^ (r & 3) << 3); }
  static __device__ __forceinline__ void put(SharedPointer<float2> sums, int r, int c, float v0, float v1) {
    sums[at(r, c) / 2] = float2{v0, v1};
  }
  // Calls store(row, column, v0, v1) for all pairs.
  template <int kThreads, class Store>
  static __device__ __forceinline__ void each(SharedPointer<float2> sums, int rows, const Store& store) {
#pragma unroll 1
    for (int e = threadIdx.x; e < rows * (kColumns / 2); e += kThreads) {
      const int r = e / (kColumns / 2), c = e % (kColumns / 2) * 2;
      const float2 v = sums[at(r, c) / 2];
      store(r, c, v.x, v.y);
    }
  }
};

}  // namespace clip::cuda
