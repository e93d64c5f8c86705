#pragma once
// clip_conv_{bfloat16,float16}  (Conv): backend.h, Conv, as an implicit matrix product.
//
// x and w are of one 16-bit type; x begins at a multiple of 16 bytes, its stride too. w is packed as
// (out, packedInputs(kernel * kernel * in)), columns (y, x, channel), zeros behind. y is float32 or of x's
// type and then begins at a multiple of 4 bytes, its stride too. Channels that are no multiple of 8 are read
// one by one: the first convolution of a ResNet.
#include "linear.h"

namespace clip::cuda {

constexpr const char* kConvKernels[] = {
    "clip_conv_bfloat16",
    "clip_conv_float16",
};

namespace conv {
constexpr int kRows = 128, kOutputs = 64, kStages = 4;
constexpr int kShared = kStages * (kRows + kOutputs) * 64;
}  // namespace conv

inline Launch convLaunch(const Conv& c) {
  return {c.dtype == Dtype::bfloat16 ? "clip_conv_bfloat16" : "clip_conv_float16",
          static_cast<unsigned>(ceilDiv(c.out, conv::kOutputs)),
          static_cast<unsigned>(ceilDiv(c.images * c.outHeight() * c.outWidth(), conv::kRows)),
          1,
          256,
          conv::kShared};
}

}  // namespace clip::cuda
