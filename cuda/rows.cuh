#pragma once
// Rows of activations in any stored type, and reductions over a warp.
#include "primitives.cuh"

namespace clip::cuda {

constexpr float kLog2E = 1.4426950408889634f;

__device__ __forceinline__ char* rowOf(const MatrixView& a, int r) {
  return static_cast<char*>(a.data) + size_t(r) * a.stride;
}
__device__ __forceinline__ float loadNumber(const void* row, Dtype dtype, int c) {
  if (dtype == Dtype::float32) return static_cast<const float*>(row)[c];
  const uint16_t half = static_cast<const uint16_t*>(row)[c];
  return dtype == Dtype::bfloat16 ? __uint_as_float(uint32_t(half) << 16) : widenFloat16(half);
}
// Two numbers in the form in which activations are stored: a subnormal float32 becomes zero in bfloat16 (see
// MatrixView in backend.h).
template <class T>
__device__ __forceinline__ uint32_t storedHalves(float low, float high) {
  if constexpr (T::bfloat16) {
    if (fabsf(low) < 0x1p-126f) low *= 0.f;
    if (fabsf(high) < 0x1p-126f) high *= 0.f;
  }
  return packHalves<T>(low, high);
}
// A number rounded to its 16-bit type.
template <class T>
__device__ __forceinline__ float roundedHalf(float v) {
  const uint32_t half = packHalves<T>(v, 0.f);
  return T::bfloat16 ? __uint_as_float(half << 16) : widenFloat16(static_cast<uint16_t>(half));
}
// Stores one number, rounded to the row's type.
__device__ __forceinline__ void storeNumber(void* row, Dtype dtype, int c, float v) {
  if (dtype == Dtype::float32) {
    static_cast<float*>(row)[c] = v;
  } else {
    const uint32_t halves =
        dtype == Dtype::bfloat16 ? storedHalves<Bfloat16>(v, 0.f) : storedHalves<Float16>(v, 0.f);
    static_cast<uint16_t*>(row)[c] = static_cast<uint16_t>(halves);
  }
}

// The same bits in every lane, whatever the row's position.
__device__ __forceinline__ float warpSum(float v) {
#pragma unroll
  for (int bits = 16; bits; bits >>= 1) v += __shfl_xor_sync(kAllLanes, v, bits);
  return v;
}
// Ignores NaN.
__device__ __forceinline__ float warpMax(float v) {
#pragma unroll
  for (int bits = 16; bits; bits >>= 1) v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, bits));
  return v;
}

}  // namespace clip::cuda
