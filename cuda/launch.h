#pragma once
// How a kernel is started: plain numbers, so that host code needs no CUDA header. All kernels have blocks of
// one dimension. `shared` is dynamic shared memory; above 48 KB the driver must be told
// (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES).
#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace clip::cuda {

struct Launch {
  const char* kernel;  // the extern "C" name
  unsigned x, y, z;    // blocks; none of them may be 0
  unsigned threads;
  uint32_t shared;  // bytes
};

constexpr int ceilDiv(int a, int b) { return (a + b - 1) / b; }

}  // namespace clip::cuda
