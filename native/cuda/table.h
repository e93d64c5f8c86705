#pragma once
// The table of the CUDA backend.
#include "backend.h"

namespace clip::cuda {

extern const Backend cudaBackend;

}  // namespace clip::cuda
