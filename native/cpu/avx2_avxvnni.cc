// avx2's int8 products with vpdpbusd in the encoding of AVX-VNNI, which avx2 uses on every CPU that has it.
// The code differs from avx2_vl.cc only in the intrinsic. It was run on a CPU with AVX-VNNI and gave the same
// bits as avx2 without it.
#include "cpu/target.h"

#if CLIP_X86
CLIP_BEGIN_TARGET(CLIP_AVX2 ",avxvnni")

namespace clip {
namespace {

#include "cpu/avx2.inl"
#include "cpu/products.inl"

CLIP_VECTOR I fourProducts(I sum, I x, I w) { return _mm256_dpbusd_avx_epi32(sum, x, w); }
#include "cpu/four_int8.inl"

}  // namespace
}  // namespace clip

CLIP_END_TARGET

namespace clip::cpu {

void avx2AvxVnni(Backend& b) {
  b.linear.set(uniform(Dtype::int8), linearOf<FourInt8>);
  b.conv.set(uniform(Dtype::int8), convOf<FourInt8>);
}

}  // namespace clip::cpu
#endif
