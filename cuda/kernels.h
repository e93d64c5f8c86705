#pragma once
// All kernels: their names, arguments and launches, without a CUDA header. A kernel's arguments are passed by
// value, in the order listed in its header; pointers in them are device addresses.
//
//   attention.h   clip_attention_*
//   linear.h      clip_linear_*
//   conv.h        clip_conv_*
//   rows.h        clip_layer_norm, clip_pool, ...: a warp per row
//   cosine.h      clip_cosine_*, clip_softmax_rows, clip_info_nce*
#include <array>

#include "attention.h"
#include "conv.h"
#include "cosine.h"
#include "linear.h"
#include "rows.h"

namespace clip::cuda {

// Joins the lists of the headers.
template <size_t... N>
constexpr auto namesOf(const char* const (&... lists)[N]) {
  std::array<const char*, (N + ...)> all{};
  size_t n = 0;
  const auto add = [&](const auto& list) {
    for (const char* name : list) all[n++] = name;
  };
  (add(lists), ...);
  return all;
}
inline constexpr auto kKernels =
    namesOf(kAttentionKernels, kLinearKernels, kConvKernels, kRowKernels, kCosineKernels);

}  // namespace clip::cuda
