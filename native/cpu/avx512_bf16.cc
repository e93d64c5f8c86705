// avx512's bfloat16 products with vdpbf16ps (AVX512_BF16). Nothing else is compiled for that.
#include "cpu/features.h"

#if CLIP_X86
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/attention_plan.h"
#include "cpu/tables.h"
#include "half.h"
#include "pool/context.h"

#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16")
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // _mm512_undefined in g++'s own header
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace clip {
namespace {

#define CLIP_CONVERTS_BFLOAT16  // vcvtneps2bf16
#include "cpu/avx512.inl"
#include "cpu/products.inl"
#include "cpu/attention.inl"

// Each product pair is added to the sum, rounded to nearest even, subnormals flushed.
CLIP_VECTOR F pairProducts(F sum, I x, I w) { return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w); }
#include "cpu/paired_bfloat16.inl"

}  // namespace

void attentionAvx512Bf16(Context& context, const Attention& a) { attentionOf<PairedBfloat16>(context, a); }
void linearAvx512Bf16(Context& context, const Linear& l) { linearOf<PairedBfloat16>(context, l); }
void convAvx512Bf16(Context& context, const Conv& c) { convOf<PairedBfloat16>(context, c); }

}  // namespace clip

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
