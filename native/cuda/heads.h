#pragma once
// Checks for attention heads that no kernel supports.
#include "backend.h"

namespace clip::cuda {

// Throws ERR_CLIP_CUDA, naming `field`, unless there is a kernel for heads of this dimension in this type.
void requireHead(Dtype dtype, int dim, const char* field);

}  // namespace clip::cuda
