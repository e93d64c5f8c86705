// avx2's int8 products with vpdpbusd on 256-bit registers, in the encoding of AVX512_VNNI and VL. avx2 uses
// them on CPUs that have AVX-512 but no AVX-VNNI (avx2_avxvnni.cc).
#include "cpu/target.h"

#if CLIP_X86
CLIP_BEGIN_TARGET(CLIP_AVX2 ",avx512f,avx512vl,avx512vnni")

namespace clip {
namespace {

#include "cpu/avx2.inl"
#include "cpu/products.inl"

CLIP_VECTOR I fourProducts(I sum, I x, I w) { return _mm256_dpbusd_epi32(sum, x, w); }
#include "cpu/four_int8.inl"

}  // namespace
}  // namespace clip

CLIP_END_TARGET

namespace clip::cpu {

void avx2Vl(Backend& b) {
  b.linear.set(uniform(Dtype::int8), linearOf<FourInt8>);
  b.conv.set(uniform(Dtype::int8), convOf<FourInt8>);
}

}  // namespace clip::cpu
#endif
