// avx512's int8 products with vpdpbusd (AVX512_VNNI). Nothing else is compiled for this instruction.
#include "cpu/target.h"

#if CLIP_X86
CLIP_BEGIN_TARGET(CLIP_AVX512 ",avx512vnni")

namespace clip {
namespace {

#include "cpu/avx512.inl"
#include "cpu/products.inl"

CLIP_VECTOR I fourProducts(I sum, I x, I w) { return _mm512_dpbusd_epi32(sum, x, w); }
#include "cpu/four_int8.inl"

}  // namespace
}  // namespace clip

CLIP_END_TARGET

namespace clip::cpu {

void avx512Vnni(Backend& b) {
  b.linear.set(uniform(Dtype::int8), linearOf<FourInt8>);
  b.conv.set(uniform(Dtype::int8), convOf<FourInt8>);
}

}  // namespace clip::cpu
#endif
