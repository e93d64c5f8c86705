#pragma once
// Memory of a backend for the length of a call.
#include <new>

#include "backend.h"

namespace clip {

class BackendBuffer {
 public:
  // std::bad_alloc when there is none
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
