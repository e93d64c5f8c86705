#pragma once
// Memory of a backend that is freed at the end of the scope.
#include <new>

#include "backend.h"

namespace clip {

class BackendBuffer {
 public:
  // Throws std::bad_alloc if there is no memory.
  BackendBuffer(const Backend& backend, size_t bytes)
      : backend_(backend), bytes_(bytes), data_(backend.alloc(bytes)) {
    if (!data_) throw std::bad_alloc();
  }
  ~BackendBuffer() { backend_.free(data_, bytes_); }
  BackendBuffer(const BackendBuffer&) = delete;
  BackendBuffer& operator=(const BackendBuffer&) = delete;
  void* data() const { return data_; }

 private:
  const Backend& backend_;
  size_t bytes_;
  void* data_;
};

}  // namespace clip
