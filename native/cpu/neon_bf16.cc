// neon's bfloat16 products with bfdot (FEAT_BF16). Nothing else is compiled for that.
#include "cpu/features.h"

#if CLIP_ARM64
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/attention_plan.h"
#include "cpu/tables.h"
#include "half.h"
#include "pool/context.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("bf16"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+bf16")
#endif

namespace clip {
namespace {

#include "cpu/neon.inl"
#include "cpu/products.inl"
#include "cpu/attention.inl"

// A pair's products are added to each other and then to the sum, each time rounded to odd, subnormals
// flushed.
CLIP_VECTOR void pairProducts(float32x4_t& sum, PackedFactor x, int32x4_t w) {
  asm("bfdot %0.4s, %1.8h, %2.2h[0]" : "+w"(sum) : "w"(w), "w"(x));
}
CLIP_VECTOR F pairProducts(F sum, PackedFactor x, I w) {
  pairProducts(sum.low, x, w.low);
  pairProducts(sum.high, x, w.high);
  return sum;
}
#include "cpu/paired_bfloat16.inl"

}  // namespace

void attentionNeonBf16(Context& context, const Attention& a) { attentionOf<PairedBfloat16>(context, a); }
void linearNeonBf16(Context& context, const Linear& l) { linearOf<PairedBfloat16>(context, l); }
void convNeonBf16(Context& context, const Conv& c) { convOf<PairedBfloat16>(context, c); }

}  // namespace clip

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
