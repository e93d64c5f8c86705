#pragma once
// CUDA's keywords and functions for g++: qualifiers, vector types and the device functions that kernels use.
// Those that involve several threads are in collectives.h.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict

namespace emulator {
template <class T, int N, int Alignment>
struct alignas(Alignment) Vector;
template <class T, int Alignment>
struct alignas(Alignment) Vector<T, 2, Alignment> {
  T x, y;
};
template <class T, int Alignment>
struct alignas(Alignment) Vector<T, 4, Alignment> {
  T x, y, z, w;
};
struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};
}  // namespace emulator

using float2 = emulator::Vector<float, 2, 8>;
using float4 = emulator::Vector<float, 4, 16>;
using uint4 = emulator::Vector<uint32_t, 4, 16>;
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline float __uint_as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline uint32_t __float_as_uint(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
// Nothing to do: blocks run one after the other, so the results of an earlier block are complete.
inline void __threadfence() {}
template <class T>
inline T __ldcg(const T* p) {
  return *p;
}
inline unsigned atomicAdd(unsigned* p, unsigned v) {
  const unsigned before = *p;
  *p += v;
  return before;
}
inline int __popc(unsigned v) { return __builtin_popcount(v); }
