// neon's int8 products with sudot (FEAT_I8MM): weights are signed, activations unsigned, as they come.
// Nothing else is compiled for that.
//
// usmmla would multiply 2 x 8 by 8 x 2 bytes, twice sudot's products. On these weights it needs 8 zips of
// them and 3 copies of pairs of rows besides every 24 instructions: 22 products per vector operation against
// 16 at most. Not written: nothing here could tell whether it is faster.
#include "cpu/features.h"

#if CLIP_ARM64
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/tables.h"
#include "half.h"
#include "pool/context.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("i8mm"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+i8mm")
#endif

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

void linearNeonI8mm(Context& context, const Linear& l) { linearOf<FourInt8>(context, l); }
void convNeonI8mm(Context& context, const Conv& c) { convOf<FourInt8>(context, c); }

}  // namespace clip

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
