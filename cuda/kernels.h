#pragma once
// All kernels: their names, arguments and launches, without a CUDA header. The arguments of a kernel are
// passed by value, in the order in which its header lists them; pointers in them are device addresses.
//
//   attention.h   clip_attention_*
//   linear.h      clip_linear_*
//   conv.h        clip_conv_*
//   rows.h        clip_layer_norm, clip_normalise, clip_convert, clip_embed, clip_gather, clip_patches,
//                 clip_pool
//   cosine.h      clip_cosine_*, clip_softmax_rows, clip_info_nce*
#include "attention.h"
#include "conv.h"
#include "cosine.h"
#include "linear.h"
#include "rows.h"

namespace clip::cuda {

constexpr const char* kKernels[] = {
    "clip_attention_groups",
    "clip_attention_float32",
    "clip_attention_bfloat16_64",
    "clip_attention_bfloat16_80",
    "clip_attention_bfloat16_88",
    "clip_attention_bfloat16_104",
    "clip_attention_bfloat16_128",
    "clip_attention_float16_64",
    "clip_attention_float16_80",
    "clip_attention_float16_88",
    "clip_attention_float16_104",
    "clip_attention_float16_128",
    "clip_linear_bfloat16_skinny",
    "clip_linear_float16_skinny",
    "clip_linear_bfloat16_square",
    "clip_linear_float16_square",
    "clip_linear_float32",
    "clip_conv_bfloat16",
    "clip_conv_float16",
    "clip_layer_norm",
    "clip_normalise",
    "clip_convert",
    "clip_embed",
    "clip_gather",
    "clip_patches",
    "clip_pool",
    "clip_cosine_scores",
    "clip_softmax_rows",
    "clip_cosine_top_k",
    "clip_cosine_top_k_merge",
    "clip_info_nce",
    "clip_info_nce_loss",
};

}  // namespace clip::cuda
