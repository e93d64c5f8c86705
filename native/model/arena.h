#pragma once
// Memory for the activations of one pass: allocated piece by piece, released all at once, and kept for the
// next pass of the same size.
#include <cstddef>
#include <new>
#include <vector>

#include "backend.h"

namespace clip {

class Arena {
 public:
  Arena(const Backend& backend, Context& context) : backend_(backend), context_(context) {}
  ~Arena() { free(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Releases everything taken. The memory that the last pass needed is merged into one block.
  void reset() {
    const size_t needed = used_;
    used_ = 0;
    if (blocks_.size() > 1) {
      free();
      grow(needed);
    }
    if (!blocks_.empty()) blocks_.back().used = 0;
  }

  // Frees all memory if it is more than `keep` bytes.
  void trim(size_t keep) {
    if (capacity() <= keep) return;
    free();
    used_ = 0;
  }

  // 64-byte aligned and uninitialized. Throws std::bad_alloc.
  void* take(size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    used_ += bytes;
    if (blocks_.empty() || blocks_.back().size - blocks_.back().used < bytes) grow(bytes);
    Block& b = blocks_.back();
    void* place = static_cast<char*>(b.data) + b.used;
    b.used += bytes;
    return place;
  }

  MatrixView rows(int rows, int columns, Dtype dtype) {
    const size_t stride = lineStride(static_cast<size_t>(columns) * bytesOf(dtype)),
                 n = static_cast<size_t>(rows);
    const bool scaled = dtype == Dtype::int8;
    return {.data = take(n * stride),
            .stride = stride,
            .dtype = dtype,
            .rowScale = scaled ? static_cast<float*>(take(n * sizeof(float))) : nullptr,
            .rowZero = scaled ? static_cast<int32_t*>(take(n * sizeof(int32_t))) : nullptr};
  }

  // Copies the values to memory of the backend.
  template <class T>
  T* copy(const T* values, size_t count) {
    T* place = static_cast<T*>(take(count * sizeof(T)));
    backend_.upload(&context_, place, values, count * sizeof(T));
    return place;
  }
  template <class T>
  T* copy(const std::vector<T>& values) {
    return copy(values.data(), values.size());
  }

  // The block that contains everything taken so far; nullptr if it is not in one block.
  struct Place {
    const void* memory;
    size_t bytes;
  };
  Place place() const {
    return blocks_.size() == 1 ? Place{blocks_[0].data, blocks_[0].size} : Place{nullptr, 0};
  }

 private:
  struct Block {
    void* data;
    size_t size, used;
  };

  void grow(size_t bytes) {
    constexpr size_t kLeast = size_t{1} << 16;
    if (bytes < kLeast) bytes = kLeast;
    blocks_.reserve(blocks_.size() + 1);
    void* data = backend_.alloc(bytes);
    if (!data) throw std::bad_alloc();
    blocks_.push_back({data, bytes, 0});
  }
  void free() {
    try {
      // Waits, because an interrupted pass may have left copies in flight.
      if (!blocks_.empty()) backend_.download(&context_, nullptr, nullptr, 0);
    } catch (...) {  // then nothing is in flight any more
    }
    for (const Block& b : blocks_) backend_.free(b.data, b.size);
    blocks_.clear();
  }
  size_t capacity() const {
    size_t n = 0;
    for (const Block& b : blocks_) n += b.size;
    return n;
  }

  const Backend& backend_;
  Context& context_;
  std::vector<Block> blocks_;
  size_t used_ = 0;
};

// The dtype of rows between the products of a model of dtype `d`. int8 rows are only used as inputs of
// products.
constexpr Dtype rowDtype(Dtype d) { return d == Dtype::int8 ? Dtype::float32 : d; }

// The columns of a matrix from `first` on.
inline MatrixView columns(MatrixView a, int first) {
  a.data = static_cast<char*>(a.data) + static_cast<size_t>(first) * bytesOf(a.dtype);
  return a;
}

// The rows of a matrix from `first` on.
inline MatrixView rowsFrom(MatrixView a, int first) {
  a.data = static_cast<char*>(a.data) + static_cast<size_t>(first) * a.stride;
  if (a.rowScale) a.rowScale += first;
  if (a.rowZero) a.rowZero += first;
  return a;
}

}  // namespace clip
