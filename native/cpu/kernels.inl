// All kernels but resize, which is integers of the instruction set's own, in the order in which they use one
// another.
#include "cpu/products.inl"
#include "cpu/pack.inl"
#include "cpu/pool.inl"
#include "cpu/attention.inl"
#include "cpu/layer_norm.inl"
#include "cpu/rows.inl"
#include "cpu/cosine.inl"
#include "cpu/info_nce.inl"
#include "cpu/softmax_cross_entropy.inl"

// attention, linear and conv by dtype, with the arithmetic that the CPU has for the narrow ones.
template <AttentionEntry Bfloat16>
void attention(Context& context, const Attention& a) {
  (a.q.dtype == Dtype::bfloat16 ? Bfloat16 : attentionOf<Float32>)(context, a);
}
template <LinearEntry Bfloat16, LinearEntry Int8>
void linear(Context& context, const Linear& l) {
  (l.x.dtype == Dtype::int8       ? Int8
   : l.x.dtype == Dtype::bfloat16 ? Bfloat16
   : l.float16Weights             ? linearOf<Float16AsFloat32>
                                  : linearOf<Float32>)(context, l);
}
template <ConvEntry Bfloat16, ConvEntry Int8>
void conv(Context& context, const Conv& c) {
  (c.dtype == Dtype::int8 ? Int8 : c.dtype == Dtype::bfloat16 ? Bfloat16 : convOf<Float32>)(context, c);
}

// The same without extras of the CPU.
void attention(Context& context, const Attention& a) { attention<attentionOf<Float32>>(context, a); }
void linear(Context& context, const Linear& l) {
  linear<linearOf<Bfloat16AsFloat32>, linearOf<Int8AsInt16>>(context, l);
}
void conv(Context& context, const Conv& c) {
  conv<convOf<Bfloat16AsFloat32>, convOf<Int8AsInt16>>(context, c);
}
