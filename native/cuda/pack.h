#pragma once
// Packs weights in the layout that the kernels read: linear.h, conv.h.
#include "backend.h"

namespace clip::cuda {

constexpr int kPackRows = 64;
// Throws ERR_CLIP_DTYPE for a number that float16 cannot represent.
bool pack(const Pack&);

}  // namespace clip::cuda
