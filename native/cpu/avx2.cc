// The avx2 backend: its vector vocabulary, its tile sizes and its table.
#include "cpu/features.h"

#if CLIP_X86
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/attention_plan.h"
#include "cpu/context.h"
#include "cpu/tables.h"
#include "cpu/top_k.h"
#include "half.h"
#include "resample.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace clip {
namespace {

#define CLIP_VECTOR inline __attribute__((always_inline))

using F = __m256;
constexpr int kLanes = 8;
constexpr int kTileRows = 6;  // 6 x 2 sums + 2 weights + 1 broadcast = 15 of 16 registers
constexpr int kQueries = 2;

// All bits in lanes below n.
CLIP_VECTOR __m256i lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
CLIP_VECTOR F zero() { return _mm256_setzero_ps(); }
CLIP_VECTOR F all(float x) { return _mm256_set1_ps(x); }
CLIP_VECTOR F load(const float* p) { return _mm256_loadu_ps(p); }
CLIP_VECTOR void store(float* p, F v) { _mm256_storeu_ps(p, v); }
CLIP_VECTOR F load(const float* p, int n) { return n == kLanes ? load(p) : _mm256_maskload_ps(p, lanes(n)); }
CLIP_VECTOR void store(float* p, F v, int n) {
  if (n == kLanes)
    store(p, v);
  else
    _mm256_maskstore_ps(p, lanes(n), v);
}
CLIP_VECTOR F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }    // a b + c
CLIP_VECTOR F fms(F a, F b, F c) { return _mm256_fmsub_ps(a, b, c); }    // a b - c
CLIP_VECTOR F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a b
CLIP_VECTOR F larger(F a, F b) { return _mm256_max_ps(a, b); }           // b where either is NaN
CLIP_VECTOR F smaller(F a, F b) { return _mm256_min_ps(a, b); }
CLIP_VECTOR F absolute(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
CLIP_VECTOR F nearest(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// In two steps, so that no power leaves the exponent's range and only the last product rounds (n in -151 ..
// 129).
CLIP_VECTOR F timesPowerOf2(F a, F n) {
  const __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), bias = _mm256_set1_epi32(127);
  const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}
CLIP_VECTOR F firstLanes(F a, int n, F b) { return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(lanes(n))); }
CLIP_VECTOR F whereNegative(F x, F a, F b) {
  return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
CLIP_VECTOR float sum(F a) {
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
CLIP_VECTOR float top(F a) {
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}

CLIP_VECTOR void transpose(F* f) {
  F t[8], s[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[2 * i] = _mm256_unpacklo_ps(f[2 * i], f[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(f[2 * i], f[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) {
    s[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    s[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    s[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    s[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    f[i] = _mm256_permute2f128_ps(s[i], s[4 + i], 0x20);
    f[4 + i] = _mm256_permute2f128_ps(s[i], s[4 + i], 0x31);
  }
}

#include "cpu/kernels.inl"

}  // namespace
}  // namespace clip

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace clip {
namespace {
bool available(std::string* why) {
  if (cpuFeatures().avx2) return true;
  if (why) *why = "this CPU or its operating system lacks AVX2 and FMA";
  return false;
}
}  // namespace

const Backend avx2Backend{
    .name = "avx2",
    .device = "cpu",
    .borrowed = "",
    .available = available,
    .runs = runs,
    .epsilon = epsilon,
    .open = cpuOpen,
    .close = cpuClose,
    .alloc = cpuAlloc,
    .free = cpuFree,
    .upload = cpuCopy,
    .download = cpuCopy,
    .packRows = kCols,
    .packedSize = packedSize,
    .pack = pack,
    .begin = cpuBegin,
    .end = cpuEnd,
    .linear = linear,
    .layerNorm = layerNorm,
    .attention = attention,
    .embed = embed,
    .gather = gather,
    .resize = resize,
    .patches = patches,
    .conv = conv,
    .pool = pool,
    .normalise = normalise,
    .cosineSoftmax = cosineSoftmax,
    .cosineTopK = cosineTopK,
};

}  // namespace clip
#endif
