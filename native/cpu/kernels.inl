// All kernels except resize, whose integer code is specific to each instruction set. CMake writes the last
// file, which includes every file of kernels/ (kernels.cmake). Files of kernels/ do not use each other.
#include "cpu/products.inl"
#include "cpu/pack.inl"
#include "cpu/every_kernel.inl"
