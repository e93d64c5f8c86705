#pragma once
// Float32 matrix products of a backend, for training: each product packs its second factor, uses it once and
// discards it.
#include <memory>
#include <new>
#include <vector>

#include "backend.h"
#include "backend_buffer.h"

namespace clip::learn {

inline MatrixView dense(const float* data, size_t cols) {
  return {const_cast<float*>(data), cols * sizeof(float), Dtype::float32, nullptr, nullptr};
}

class Products {
 public:
  Products(const Backend& backend, int threads)
      : backend_(backend), context_(backend.open(threads), backend.close.f) {
    if (!context_) throw std::bad_alloc();
  }

  const Backend& backend() const { return backend_; }
  Context& context() const { return *context_; }

  // Packs w (out, in) for `multiply`.
  void pack(void* dst, const float* w, int in, int out) const { packRows(dst, w, in, out, 0, out); }

  // Packs rows [first, first + count) of it; `rows` holds only these. first is a multiple of packRows.
  void packRows(void* dst, const float* rows, int in, int out, int first, int count) const {
    backend_.pack({.dst = dst,
                   .rows = rows,
                   .rowStride = static_cast<size_t>(in),
                   .in = in,
                   .out = out,
                   .firstRow = first,
                   .rowCount = count,
                   .dtype = Dtype::float32});
  }

  // y (rows, out) = x (rows, in) · wᵀ + bias, where `packed` is w (out, in) after pack
  void multiply(const float* x, const void* packed, const float* bias, float* y, int rows, int in,
                int out) const {
    backend_.linear(*context_, {.x = dense(x, in),
                                .w = packed,
                                .bias = bias,
                                .residual = {},
                                .y = dense(y, out),
                                .rows = rows,
                                .in = in,
                                .out = out,
                                .activation = Activation::none,
                                .weights = Dtype::float32});
  }

  // The same with w (out, in) not yet packed.
  void byRows(const float* x, const float* w, const float* bias, float* y, int rows, int in, int out) const {
    const BackendBuffer packed(backend_, backend_.packedSize(Dtype::float32, in, out));
    pack(packed.data(), w, in, out);
    multiply(x, packed.data(), bias, y, rows, in, out);
  }

  // y (n, out) = aᵀ · b for a (rows, n) and b (rows, out); gradients of weights are sums of this form.
  void transposed(const float* a, const float* b, float* y, int rows, int n, int out) const {
    std::vector<float> turnedA(static_cast<size_t>(rows) * n), turnedB(static_cast<size_t>(rows) * out);
    turn(a, turnedA.data(), rows, n);
    turn(b, turnedB.data(), rows, out);
    byRows(turnedA.data(), turnedB.data(), nullptr, y, n, rows, out);
  }

 private:
  static void turn(const float* from, float* to, int rows, int cols) {
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < cols; ++c)
        to[static_cast<size_t>(c) * rows + r] = from[static_cast<size_t>(r) * cols + c];
  }

  const Backend& backend_;
  const std::unique_ptr<Context, void (*)(Context*)> context_;
};

}  // namespace clip::learn
