// neon's int8 products with sudot (FEAT_I8MM), which takes signed weights and unsigned activations as they
// are. Nothing else is compiled for this instruction.
//
// usmmla would multiply 2 x 8 by 8 x 2 bytes, twice the products of sudot. With this layout of the weights it
// would need 8 zips of weights and 3 copies of pairs of rows besides every 24 usmmla instructions: 22
// products per vector operation instead of the 16 of sudot. It was not written, because no hardware was
// available to measure whether it is faster.
#include "cpu/target.h"

#if CLIP_ARM64
CLIP_BEGIN_TARGET("i8mm")

namespace clip {
namespace {

#include "cpu/neon.inl"
#include "cpu/products.inl"

CLIP_VECTOR void fourProducts(int32x4_t& sum, PackedFactor x, int32x4_t w) {
  asm("sudot %0.4s, %1.16b, %2.4b[0]" : "+w"(sum) : "w"(w), "w"(x));
}
CLIP_VECTOR I fourProducts(I sum, PackedFactor x, I w) {
  fourProducts(sum.low, x, w.low);
  fourProducts(sum.high, x, w.high);
  return sum;
}
#include "cpu/four_int8.inl"

}  // namespace
}  // namespace clip

CLIP_END_TARGET

namespace clip::cpu {

void neonI8mm(Backend& b) {
  b.linear.set(uniform(Dtype::int8), linearOf<FourInt8>);
  b.conv.set(uniform(Dtype::int8), convOf<FourInt8>);
}

}  // namespace clip::cpu
#endif
