// The matrix products, for files that compile them for more instructions than the rest of a backend's table.
#include "cpu/common.inl"
#include "cpu/vmath.inl"
#include "cpu/arithmetic.inl"
#include "cpu/quantise.inl"
#include "cpu/linear.inl"
#include "cpu/conv.inl"
