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
