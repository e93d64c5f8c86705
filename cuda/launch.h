#pragma once
// How a kernel is started, in plain numbers, so that host code needs no CUDA header. The blocks of all
// kernels are one-dimensional. `shared` is dynamic shared memory; more than 48 KB must be requested from the
// driver (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES).
#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace clip::cuda {

struct Launch {
  const char* kernel;  // its extern "C" name
  unsigned x, y, z;    // number of blocks; none may be 0
  unsigned threads;
  uint32_t shared;  // bytes
};

constexpr int ceilDiv(int a, int b) { return (a + b - 1) / b; }

}  // namespace clip::cuda
