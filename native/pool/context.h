#pragma once
// The Context of the CPU backends and of reference: how many threads, and scratch memory per worker. And the
// memory of both: what `alloc` and `free` of their tables are.
#include <cstddef>
#include <new>

#include "backend.h"
#include "pool/threads.h"

namespace clip {

constexpr int kMaxThreads = 256;

// 64-byte aligned and zeroed, nullptr when there is none. From 4 MB on in 2 MB pages where the system has
// them: they are touched first by whoever packs into them, and streaming from them is 12 to 24 % faster.
void* cpuAlloc(size_t bytes);
void cpuFree(void*, size_t bytes);

struct Context {
  int threads;
  struct Scratch {
    void* data = nullptr;
    size_t bytes = 0;
  } scratch[kMaxThreads];

  // At least `bytes` of 64-byte aligned memory that belongs to this worker until its next call.
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

// Zeroed memory for the length of a call. No template: the vector files use it.
struct Bytes {
  void* data;
  size_t size;
  explicit Bytes(size_t);  // std::bad_alloc
  ~Bytes();
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
};

// The entries of a table that all CPU backends and reference share.
Context* cpuOpen(int threads);
void cpuClose(Context*);
void cpuCopy(Context*, void* dst, const void* src, size_t bytes);
int cpuBucket(int n);
void cpuRequireHead(Dtype, int dim, const char* field);  // any
bool cpuBegin(Context&, const GraphKey&);
void cpuEnd(Context&, bool complete);

}  // namespace clip
