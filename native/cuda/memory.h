#pragma once
// Memory of the device, and pinned memory of this process that copies to and from it pass through.
#include <memory>
#include <vector>

#include "modules.h"

namespace clip::cuda {

// The first device that our kernels run on; -1 and why there is none.
int usableDevice(std::string* why);
// Our kernels there, current in the calling thread. Throws ERR_CLIP_CUDA, ERR_CLIP_MEMORY.
std::shared_ptr<const Module> usableModule();

// Bytes on the device, zeroed. Aligned to 256.
class DeviceMemory {
 public:
  // Throws ERR_CLIP_MEMORY, saying how much was wanted and how much there is; ERR_CLIP_CUDA.
  DeviceMemory(std::shared_ptr<const Module> module, size_t bytes);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  CUdeviceptr address() const { return address_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(address_);
  }
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<const Module> module_;
  CUdeviceptr address_ = 0;
  size_t bytes_;
};

// A DeviceMemory that grows. Whoever recorded its address keeps the old one.
class Scratch {
 public:
  using Memory = std::shared_ptr<const DeviceMemory>;
  // At least `bytes`; zeros where nobody has written.
  const Memory& atLeast(const std::shared_ptr<const Module>& module, size_t bytes);
  const Memory& memory() const { return memory_; }

 private:
  Memory memory_;
};

// Pinned memory: taken piece by piece, given back together when the copies are done.
class Staging {
 public:
  ~Staging() { free(); }
  // Throws ERR_CLIP_MEMORY, ERR_CLIP_CUDA. The context must be current.
  void* take(size_t bytes);
  // Forgets everything taken.
  void reset();
  void free();

 private:
  struct Block {
    char* data;
    size_t size, used;
  };
  std::vector<Block> blocks_;
};

// The table's entries.
void* alloc(size_t bytes);
void free(void*, size_t bytes);
// How often the calling thread has called alloc: whether memory grew in between.
uint64_t allocations();
// Without a context: done on return.
void copyIn(void* dst, const void* src, size_t bytes);
void copyOut(void* dst, const void* src, size_t bytes);

}  // namespace clip::cuda
