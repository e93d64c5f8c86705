// All kernels except resize, whose integer code is specific to each instruction set. Each file uses only
// those included before it.
#include "cpu/products.inl"
#include "cpu/pack.inl"
#include "cpu/pool.inl"
#include "cpu/attention.inl"
#include "cpu/layer_norm.inl"
#include "cpu/rows.inl"
#include "cpu/cosine.inl"
#include "cpu/info_nce.inl"
#include "cpu/softmax_cross_entropy.inl"
