// avx2's int8 products with vpdpbusd in the encoding of AVX-VNNI: CPUs that have it but no AVX-512. The same
// text as avx2_vl.cc but for the intrinsic; compiled and disassembled, never run so far.
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
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avxvnni")
#endif

namespace clip {
namespace {

#include "cpu/avx2.inl"
#include "cpu/products.inl"

CLIP_VECTOR I fourProducts(I sum, I x, I w) { return _mm256_dpbusd_avx_epi32(sum, x, w); }
#include "cpu/four_int8.inl"

}  // namespace

void linearAvx2AvxVnni(Context& context, const Linear& l) { linearOf<FourInt8>(context, l); }
void convAvx2AvxVnni(Context& context, const Conv& c) { convOf<FourInt8>(context, c); }

}  // namespace clip

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
