#pragma once
// The Context of the CPU backends and of reference: how many threads, and scratch memory per worker.
#include <cstdlib>
#include <new>

#include "backend.h"
#include "cpu/threads.h"

namespace clip {

constexpr int kMaxThreads = 256;

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
      std::free(s.data);
      s.bytes = (bytes + 4095) / 4096 * 4096;
      s.data = std::aligned_alloc(64, s.bytes);
      if (!s.data) throw std::bad_alloc();
    }
    return s.data;
  }
  ~Context() {
    for (Scratch& s : scratch) std::free(s.data);
  }
};

}  // namespace clip
