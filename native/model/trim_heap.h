#pragma once
// Returns the memory that the packing threads have freed to the system; otherwise the allocator would keep it
// for each of them.
#include <cstddef>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace clip {

struct TrimHeap {
  ~TrimHeap() {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
  }
};

}  // namespace clip
