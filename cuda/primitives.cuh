#pragma once
// The machine features that kernels use beyond C++: cp.async, ldmatrix, mma.sync and the conversions. With
// nvcc they are inline PTX; with g++ and CLIP_CUDA_EMULATOR they call the functions of the same meaning in
// emulator/. No other code of a kernel differs between the two. Every kernel begins with CLIP_KERNEL(threads
// of a block, name, parameters...) { body }.
#include <stdint.h>

#include "backend.h"
#ifdef CLIP_CUDA_EMULATOR
#include "emulator/emulator.h"
#include "emulator/registry.h"
#define CLIP_KERNEL(threads, name, ...)                                          \
  extern "C" void name(__VA_ARGS__);                                             \
  static const emulator::Registration name##_registration(#name, name, threads); \
  extern "C" void name(__VA_ARGS__)
#else
#define CLIP_KERNEL(threads, name, ...) \
  extern "C" __global__ void __launch_bounds__(threads) name(__VA_ARGS__)
template <class T>
using SharedPointer = T*;
using SharedAddress = uint32_t;
#define EMULATOR_LINE int = 0
#define DYNAMIC_SHARED(name) extern __shared__ __align__(1024) char name[]
template <class T>
__device__ __forceinline__ SharedAddress addressOf(T* p) {
  return static_cast<SharedAddress>(__cvta_generic_to_shared(p));
}
template <class T>
__device__ __forceinline__ T* sharedPart(char* base, uint32_t offset, uint32_t) {
  return reinterpret_cast<T*>(base + offset);
}
#endif

namespace clip::cuda {

constexpr uint32_t kAllLanes = 0xffffffffu;

// The two 16-bit types of the tensor cores. Stored numbers are uint16_t.
struct Bfloat16 {
  static constexpr bool bfloat16 = true;
  static constexpr uint32_t exponent = 0x7f80;  // all ones: infinite or NaN
};
struct Float16 {
  static constexpr bool bfloat16 = false;
  static constexpr uint32_t exponent = 0x7c00;
};

// Copies `bytes` (0 to 16) to shared memory and sets the rest of 16 bytes to zero. Both addresses are
// multiples of 16, and `from` must be readable even if `bytes` is 0.
__device__ __forceinline__ void copyAsync16(SharedAddress to, const void* from, uint32_t bytes,
                                            EMULATOR_LINE) {
#ifdef CLIP_CUDA_EMULATOR
  emulator::copyAsync(to, from, 16, bytes, line);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(from), "r"(bytes) : "memory");
#endif
}
__device__ __forceinline__ void commitCopies() {
#ifdef CLIP_CUDA_EMULATOR
  emulator::commitCopies();
#else
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}
// Waits for all groups of this thread except the newest `keep`. A barrier makes them visible to other
// threads.
template <int keep>
__device__ __forceinline__ void waitForCopies(EMULATOR_LINE) {
#ifdef CLIP_CUDA_EMULATOR
  emulator::waitForCopies(keep, line);
#else
  asm volatile("cp.async.wait_group %0;\n" ::"n"(keep) : "memory");
#endif
}

// Loads four matrices of 8 x 8 halves: lane i provides the address of row i % 8 of matrix i / 8, and receives
// from each matrix elements 2 (i % 4) and the next of row i / 4.
__device__ __forceinline__ void loadMatrices(uint32_t (&r)[4], SharedAddress row, EMULATOR_LINE) {
#ifdef CLIP_CUDA_EMULATOR
  emulator::loadMatrices(r, 4, false, row, line);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
#endif
}
// The same, with each matrix transposed.
__device__ __forceinline__ void loadTransposed(uint32_t (&r)[4], SharedAddress row, EMULATOR_LINE) {
#ifdef CLIP_CUDA_EMULATOR
  emulator::loadMatrices(r, 4, true, row, line);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
#endif
}
// Two matrices: lanes 16 to 31 repeat an address.
__device__ __forceinline__ void loadMatrices(uint32_t (&r)[2], SharedAddress row, EMULATOR_LINE) {
#ifdef CLIP_CUDA_EMULATOR
  emulator::loadMatrices(r, 2, false, row, line);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(row)
               : "memory");
#endif
}

// c (16, 8) += a (16, 16) b (16, 8) in float32.
template <class T>
__device__ __forceinline__ void multiplyAdd16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                              EMULATOR_LINE) {
#ifdef CLIP_CUDA_EMULATOR
  const uint32_t b[2] = {b0, b1};
  emulator::multiplyAdd(c, a, b, 16, T::bfloat16, line);
#else
  if constexpr (T::bfloat16)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}
// c (16, 8) += a (16, 8) b (8, 8) in float32.
template <class T>
__device__ __forceinline__ void multiplyAdd8(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t b0,
                                             EMULATOR_LINE) {
#ifdef CLIP_CUDA_EMULATOR
  const uint32_t a[2] = {a0, a1};
  emulator::multiplyAdd(c, a, &b0, 8, T::bfloat16, line);
#else
  if constexpr (T::bfloat16)
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(b0));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(b0));
#endif
}

// Two numbers rounded to nearest, ties to even, with `low` in the low half. NaN stays NaN, and subnormals are
// kept.
template <class T>
__device__ __forceinline__ uint32_t packHalves(float low, float high) {
#ifdef CLIP_CUDA_EMULATOR
  const auto round = T::bfloat16 ? emulator::roundToBfloat16 : emulator::roundToFloat16;
  return round(low) | uint32_t{round(high)} << 16;
#else
  uint32_t r;
  if constexpr (T::bfloat16)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(r) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;\n" : "=r"(r) : "f"(high), "f"(low));
  return r;
#endif
}
__device__ __forceinline__ float widenFloat16(uint16_t half) {
#ifdef CLIP_CUDA_EMULATOR
  return emulator::fromFloat16(half);
#else
  float r;
  asm("cvt.f32.f16 %0, %1;\n" : "=f"(r) : "h"(half));
  return r;
#endif
}

// 2^x and 1 / x, accurate to about two units in the last place. 2^-infinity is 0, 1 / infinity is 0.
__device__ __forceinline__ float exp2Approx(float x) {
#ifdef CLIP_CUDA_EMULATOR
  return std::exp2(x);
#else
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(r) : "f"(x));
  return r;
#endif
}
__device__ __forceinline__ float reciprocalApprox(float x) {
#ifdef CLIP_CUDA_EMULATOR
  return 1.f / x;
#else
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;\n" : "=f"(r) : "f"(x));
  return r;
#endif
}

__device__ __forceinline__ float notANumber() { return __uint_as_float(0x7fffffffu); }

}  // namespace clip::cuda
