// The avx512 backend: its vector vocabulary, its tile sizes and its table.
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
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // _mm512_undefined in g++'s own header
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace clip {
namespace {

#define CLIP_VECTOR inline __attribute__((always_inline))

using F = __m512;
constexpr int kLanes = 16;
constexpr int kTileRows = 14;  // 14 x 2 sums + 2 weights + 1 broadcast = 31 of 32 registers
constexpr int kQueries = 4;

CLIP_VECTOR __mmask16 lanes(int n) { return __mmask16(0xffffu >> (16 - n)); }  // n in 1 .. 16
CLIP_VECTOR F zero() { return _mm512_setzero_ps(); }
CLIP_VECTOR F all(float x) { return _mm512_set1_ps(x); }
CLIP_VECTOR F load(const float* p) { return _mm512_loadu_ps(p); }
CLIP_VECTOR void store(float* p, F v) { _mm512_storeu_ps(p, v); }
CLIP_VECTOR F load(const float* p, int n) {
  return n == kLanes ? load(p) : _mm512_maskz_loadu_ps(lanes(n), p);
}
CLIP_VECTOR void store(float* p, F v, int n) {
  if (n == kLanes)
    store(p, v);
  else
    _mm512_mask_storeu_ps(p, lanes(n), v);
}
CLIP_VECTOR F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }    // a b + c
CLIP_VECTOR F fms(F a, F b, F c) { return _mm512_fmsub_ps(a, b, c); }    // a b - c
CLIP_VECTOR F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
CLIP_VECTOR F larger(F a, F b) { return _mm512_max_ps(a, b); }           // b where either is NaN
CLIP_VECTOR F smaller(F a, F b) { return _mm512_min_ps(a, b); }
CLIP_VECTOR F absolute(F a) { return _mm512_abs_ps(a); }
CLIP_VECTOR F nearest(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
CLIP_VECTOR F timesPowerOf2(F a, F n) { return _mm512_scalef_ps(a, n); }
CLIP_VECTOR F firstLanes(F a, int n, F b) {
  return _mm512_mask_mov_ps(b, lanes(n), a);
}  // a in lanes below n, else b
CLIP_VECTOR F whereNegative(F x, F a, F b) {
  return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), a);
}
CLIP_VECTOR float sum(F a) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
CLIP_VECTOR float top(F a) { return _mm512_reduce_max_ps(a); }

CLIP_VECTOR void transpose(F* f) {
  __m512i r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) r[i] = _mm512_castps_si512(f[i]);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    f[i] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(t[i], t[8 + i], 0x88));
    f[4 + i] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88));
    f[8 + i] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd));
    f[12 + i] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd));
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
  if (cpuFeatures().avx512) return true;
  if (why) *why = "this CPU or its operating system lacks AVX-512 F, BW, DQ and VL";
  return false;
}
}  // namespace

const Backend avx512Backend{
    .name = "avx512",
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
