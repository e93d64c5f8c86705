#pragma once
// Memory of a backend for the length of a call.
#include <new>

#include "backend.h"

namespace clip {

class Held {
 public:
  // std::bad_alloc when there is none
  Held(const Backend& backend, size_t bytes) : backend_(backend), bytes_(bytes), data_(backend.alloc(bytes)) {
    if (!data_) throw std::bad_alloc();
  }
  ~Held() { backend_.free(data_, bytes_); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  void* data() const { return data_; }

 private:
  const Backend& backend_;
  size_t bytes_;
  void* data_;
};

}  // namespace clip
