// neon's bfloat16 products with bfdot (FEAT_BF16). Nothing else is compiled for this instruction.
#include "cpu/target.h"

#if CLIP_ARM64
CLIP_BEGIN_TARGET("bf16")

namespace clip {
namespace {

#include "cpu/neon.inl"
#include "cpu/products.inl"
#include "cpu/kernels/attention.inl"

// Adds the two products of a pair to each other and then to the sum; each addition is rounded to odd, and
// subnormals are flushed to zero.
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
}  // namespace clip

CLIP_END_TARGET

namespace clip::cpu {

void neonBf16(Backend& b) {
  b.attention.set(uniform(Dtype::bfloat16), attentionOf<PairedBfloat16>);
  b.linear.set(uniform(Dtype::bfloat16), linearOf<PairedBfloat16>);
  b.conv.set(uniform(Dtype::bfloat16), convOf<PairedBfloat16>);
}

}  // namespace clip::cpu
#endif
