#pragma once
// clip_conv_{bfloat16,float16}  (Conv): see Conv in backend.h, as an implicit matrix product.
//
// x and w have one 16-bit type; x begins at a multiple of 16 bytes, and so do its rows. w is packed as (out,
// packedInputs(kernel * kernel * in)), with columns (y, x, channel) followed by zeros. y is float32, or has
// x's type and then begins at a multiple of 4 bytes, and so do its rows. If the number of channels is not a
// multiple of 8, as in the first convolution of a ResNet, they are read one by one.
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
