// avx512's bfloat16 products with vdpbf16ps (AVX512_BF16). Nothing else is compiled for this instruction.
#include "cpu/target.h"

#if CLIP_X86
CLIP_BEGIN_TARGET(CLIP_AVX512 ",avx512bf16")

namespace clip {
namespace {

#define CLIP_CONVERTS_BFLOAT16  // vcvtneps2bf16
#include "cpu/avx512.inl"
#include "cpu/products.inl"
#include "cpu/kernels/attention.inl"

// Adds both products of a pair to the sum, each rounded to nearest even; subnormals are flushed to zero.
CLIP_VECTOR F pairProducts(F sum, I x, I w) { return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w); }
#include "cpu/paired_bfloat16.inl"

}  // namespace
}  // namespace clip

CLIP_END_TARGET

namespace clip::cpu {

void avx512Bf16(Backend& b) {
  b.attention.set(uniform(Dtype::bfloat16), attentionOf<PairedBfloat16>);
  b.linear.set(uniform(Dtype::bfloat16), linearOf<PairedBfloat16>);
  b.conv.set(uniform(Dtype::bfloat16), convOf<PairedBfloat16>);
}

}  // namespace clip::cpu
#endif
