// avx2's int8 products with vpdpbusd on 256-bit registers in the encoding of AVX512_VNNI and VL: what avx2
// runs on a CPU with AVX-512, and what stands for avx2_avxvnni.cc where that cannot run.
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
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512vl,avx512vnni"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512vl,avx512vnni")
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // _mm512_undefined in g++'s own header
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace clip {
namespace {

#include "cpu/avx2.inl"
#include "cpu/products.inl"

CLIP_VECTOR I fourProducts(I sum, I x, I w) { return _mm256_dpbusd_epi32(sum, x, w); }
#include "cpu/four_int8.inl"

}  // namespace

void linearAvx2Vl(Context& context, const Linear& l) { linearOf<FourInt8>(context, l); }
void convAvx2Vl(Context& context, const Conv& c) { convOf<FourInt8>(context, c); }

}  // namespace clip

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
