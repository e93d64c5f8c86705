// avx512's int8 products with vpdpbusd (AVX512_VNNI). Nothing else is compiled for that.
#include "cpu/features.h"

#if CLIP_X86
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/context.h"
#include "cpu/tables.h"
#include "half.h"

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512vnni"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512vnni")
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // _mm512_undefined in g++'s own header
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace clip {
namespace {

#include "cpu/avx512.inl"
#include "cpu/products.inl"

// vpdpbusd: four products of an unsigned and a signed byte, added to a 32-bit sum that does not saturate.
struct FourInt8 {
  static constexpr Dtype dtype = Dtype::int8;
  static constexpr int group = 4, parts = 1, rows = kTileRows;
  using Step = int32_t;
  using Sum = I;
  static CLIP_INLINE I input(Index<0>, Step x) { return allInt(x); }
  static CLIP_INLINE I weight(Index<0>, const char* w) { return loadInt(w); }
  static CLIP_INLINE Sum zeroSum() { return allInt(0); }
  static CLIP_INLINE Sum mac(Sum sum, I x, I w) { return _mm512_dpbusd_epi32(sum, x, w); }
};

}  // namespace

void linearAvx512Vnni(Context& context, const Linear& l) { linearOf<FourInt8>(context, l); }
void convAvx512Vnni(Context& context, const Conv& c) { convOf<FourInt8>(context, c); }

}  // namespace clip

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
