#pragma once
// Memory of the device, and pinned memory of this process through which copies to and from the device pass.
#include <memory>
#include <vector>

#include "modules.h"

namespace clip::cuda {

// The first device on which our kernels run; -1, with the reason, if there is none.
int usableDevice(std::string* why);
// The module with our kernels on that device, current in the calling thread. Throws ERR_CLIP_CUDA,
// ERR_CLIP_MEMORY.
std::shared_ptr<const Module> usableModule();

// Zeroed memory of the device, aligned to 256 bytes.
class DeviceMemory {
 public:
  // Throws ERR_CLIP_MEMORY with the requested and the available size, or ERR_CLIP_CUDA.
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

// A DeviceMemory that grows. A graph that has recorded the old address keeps the old memory.
class Scratch {
 public:
  using Memory = std::shared_ptr<const DeviceMemory>;
  // At least `bytes`; zero where nothing has been written.
  const Memory& atLeast(const std::shared_ptr<const Module>& module, size_t bytes);
  const Memory& memory() const { return memory_; }

 private:
  Memory memory_;
};

// Pinned memory: taken piece by piece, released together when the copies are done.
class Staging {
 public:
  ~Staging() { free(); }
  // Throws ERR_CLIP_MEMORY, ERR_CLIP_CUDA. The context must be current.
  void* take(size_t bytes);
  // Releases everything taken.
  void reset();
  void free();

 private:
  struct Block {
    char* data;
    size_t size, used;
  };
  std::vector<Block> blocks_;
};

// Entries of the backend's table.
void* alloc(size_t bytes);
void free(void*, size_t bytes);
// How often the calling thread has called alloc; shows whether memory was allocated between two points.
uint64_t allocations();
// Without a context; complete on return.
void copyIn(void* dst, const void* src, size_t bytes);
void copyOut(void* dst, const void* src, size_t bytes);

}  // namespace clip::cuda
