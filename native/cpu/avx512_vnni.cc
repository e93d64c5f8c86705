// avx512's int8 products with vpdpbusd (AVX512_VNNI). Nothing else is compiled for that.
#include "cpu/features.h"

#if CLIP_X86
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/tables.h"
#include "half.h"
#include "pool/context.h"

#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni")
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // _mm512_undefined in g++'s own header
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace clip {
namespace {

#include "cpu/avx512.inl"
#include "cpu/products.inl"

CLIP_VECTOR I fourProducts(I sum, I x, I w) { return _mm512_dpbusd_epi32(sum, x, w); }
#include "cpu/four_int8.inl"

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
