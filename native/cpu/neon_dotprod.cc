// neon's int8 products with sdot (FEAT_DotProd), for CPUs without i8mm. Nothing else is compiled for this
// instruction.
//
// sdot multiplies signed bytes, but activations are unsigned. Since byte - zero = (byte - 128) - (zero -
// 128), 128 is first subtracted from the rows (by flipping the top bit) and from their zero points. This
// changes no sum, and none saturates.
//
//   where to move them                                        vector operations
//   in the tile, as each 4 bytes of x come                    6 besides every 24 sdot     dropped
//   a copy of all rows before the product                     1 per 16 bytes of a row     kept
//   udot, moving the weights and adding up the rows instead   4 besides every 24 udot     dropped
#include "cpu/target.h"

#if CLIP_ARM64
CLIP_BEGIN_TARGET("dotprod")

namespace clip {
namespace {

#include "cpu/neon.inl"
#include "cpu/products.inl"

CLIP_VECTOR void fourProducts(int32x4_t& sum, PackedFactor x, int32x4_t w) {
  asm("sdot %0.4s, %1.16b, %2.4b[0]" : "+w"(sum) : "w"(w), "w"(x));
}
CLIP_VECTOR I fourProducts(I sum, PackedFactor x, I w) {
  fourProducts(sum.low, x, w.low);
  fourProducts(sum.high, x, w.high);
  return sum;
}
#include "cpu/four_int8.inl"

inline void toSigned(const uint8_t* x, int n, uint8_t* y) {
  int i = 0;
  for (; i + 16 <= n; i += 16) vst1q_u8(y + i, veorq_u8(vld1q_u8(x + i), vdupq_n_u8(128)));
  for (; i < n; i++) y[i] = x[i] ^ 128;
}
struct FourSignedInt8 : FourInt8 {
  static CLIP_INLINE void prepareRow(uint8_t* row, int n, int32_t* zeroPoint) {
    toSigned(row, n, row);
    *zeroPoint -= 128;
  }
};

void linear(Context& context, const Linear& l) {
  if (l.rows <= 0) return;
  // linearOf uses no scratch memory, so the first worker's is free.
  const size_t stride = lineStride(size_t(l.in)), zeros = stride * l.rows;
  char* const memory = static_cast<char*>(context.memory(0, zeros + size_t(l.rows) * sizeof(int32_t)));
  Linear moved = l;
  moved.x.data = memory;
  moved.x.stride = stride;
  moved.x.rowZero = reinterpret_cast<int32_t*>(memory + zeros);
  shareRows(context, l.rows, 0.1 * l.in, [&](int r) {
    toSigned(rowOf<uint8_t>(l.x, r), l.in, outRow<uint8_t>(moved.x, r));
    moved.x.rowZero[r] = l.x.rowZero[r] - 128;
  });
  linearOf<FourSignedInt8>(context, moved);
}

}  // namespace
}  // namespace clip

CLIP_END_TARGET

namespace clip::cpu {

void neonDotprod(Backend& b) {
  b.linear.set(uniform(Dtype::int8), linear);
  b.conv.set(uniform(Dtype::int8), convOf<FourSignedInt8>);
}

}  // namespace clip::cpu
#endif
