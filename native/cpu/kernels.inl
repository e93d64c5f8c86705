// All kernels, in the order in which they use one another.
#include "cpu/common.inl"
#include "cpu/vmath.inl"
#include "cpu/linear.inl"
#include "cpu/conv.inl"
#include "cpu/attention.inl"
#include "cpu/layer_norm.inl"
#include "cpu/rows.inl"
#include "cpu/cosine.inl"
#include "cpu/resize.inl"

bool runs(Dtype t) { return t == Dtype::float32; }
double epsilon(Dtype) { return 0x1p-24; }
