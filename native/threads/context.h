#pragma once
// The Context of the CPU backends and the reference: the number of threads, and scratch memory for each
// worker. Also the `alloc` and `free` of their tables.
#include <cstddef>
#include <new>

#include "backend.h"
#include "threads/threads.h"

namespace clip {

constexpr int kMaxThreads = 256;

// 64-byte aligned and zeroed; nullptr if there is no memory. From 4 MB on it uses 2 MB pages where the system
// has them: streaming from them is 12 to 24 % faster. The pages are first touched by the thread that packs
// weights into them.
void* cpuAlloc(size_t bytes);
void cpuFree(void*, size_t bytes);

struct Context {
  int threads;
  struct Scratch {
    void* data = nullptr;
    size_t bytes = 0;
  } scratch[kMaxThreads];

  // At least `bytes` of 64-byte aligned memory, which belongs to this worker until its next call.
  void* memory(int worker, size_t bytes) {
    Scratch& s = scratch[worker];
    if (s.bytes < bytes) {
      cpuFree(s.data, s.bytes);
      s = {};
      const size_t rounded = (bytes + 4095) / 4096 * 4096;
      s.data = cpuAlloc(rounded);
      if (!s.data) throw std::bad_alloc();
      s.bytes = rounded;
    }
    return s.data;
  }
  ~Context() {
    for (Scratch& s : scratch) cpuFree(s.data, s.bytes);
  }
};

// Zeroed memory that is freed at the end of the scope. It is not a template because the vector files use it.
struct Bytes {
  void* data;
  size_t size;
  explicit Bytes(size_t);  // throws std::bad_alloc
  ~Bytes();
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
};

// The table entries that all CPU backends and the reference share.
Context* cpuOpen(int threads);
void cpuClose(Context*);
void cpuCopy(Context*, void* dst, const void* src, size_t bytes);
int cpuBucket(int n);
void cpuRequireHead(Dtype, int dim, const char* field);  // accepts any dim
bool cpuBegin(Context&, const GraphKey&);
void cpuEnd(Context&, bool complete);

}  // namespace clip
