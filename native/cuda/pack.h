#pragma once
// Weights as the kernels read them: linear.h, conv.h.
#include "backend.h"

namespace clip::cuda {

constexpr int kPackRows = 64;
// Throws ERR_CLIP_DTYPE for a number that float16 has not.
bool pack(const Pack&);

}  // namespace clip::cuda
