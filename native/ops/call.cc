#include "ops/call.h"

#include <algorithm>

#include "threads/threads.h"

namespace clip::ops {

size_t product(std::initializer_list<size_t> factors) {
  size_t p = 1;
  for (const size_t f : factors)
    if (__builtin_mul_overflow(p, f, &p)) return SIZE_MAX - 1;  // no array is that long
  return p;
}

Arrays::~Arrays() {
  if (backend_.plainMemory) return;
  try {
    backend_.download(&context_, nullptr, nullptr, 0);
  } catch (...) {  // a lost GPU, which has already failed the call
  }
}

void* Arrays::scratch(size_t bytes) {
  scratch_.push_back(std::make_unique<BackendBuffer>(backend_, bytes));
  return scratch_.back()->data();
}

const int32_t* Arrays::operator()(const std::vector<int32_t>& list) {
  return static_cast<const int32_t*>(place(const_cast<int32_t*>(list.empty() ? nullptr : list.data()),
                                           list.size() * sizeof(int32_t), false));
}

MatrixView Arrays::operator()(const LentMatrix& m) {
  return {.data = (*this)(m.data),
          .stride = m.stride,
          .dtype = m.dtype,
          .rowScale = (*this)(m.rowScale),
          .rowZero = (*this)(m.rowZero)};
}

MatrixView Arrays::castTo(const Lent<const float>& x, int rows, int cols, Dtype dtype) {
  const MatrixView from = dense(x, cols);
  if (dtype == Dtype::float32) return from;
  MatrixView to{.data = nullptr, .stride = lineStride(rowsOf(cols) * bytesOf(dtype)), .dtype = dtype};
  auto* const memory =
      static_cast<char*>(scratch(rowsOf(rows) * (to.stride + sizeof(float) + sizeof(int32_t))));
  to.data = memory;
  to.rowScale = reinterpret_cast<float*>(memory + rowsOf(rows) * to.stride);
  to.rowZero = reinterpret_cast<int32_t*>(to.rowScale + rows);
  backend_.cast(context_, {.x = from, .y = to, .rows = rows, .cols = cols});
  return to;
}

const void* Arrays::packed(const Lent<const float>& weight, int in, int out, Dtype dtype) {
  void* const to = scratch(backend_.packedSize(dtype, in, out));
  // Packs in pieces that take some milliseconds each, so that it can be stopped in between.
  const int piece = backend_.packRows * std::max(1, (1 << 22) / in / backend_.packRows);
  for (int first = 0; first < out; first += piece) {
    endIfStopped();
    backend_.pack({.dst = to,
                   .rows = weight.host + rowsOf(first) * rowsOf(in),
                   .rowStride = rowsOf(in),
                   .in = in,
                   .out = out,
                   .firstRow = first,
                   .rowCount = std::min(piece, out - first),
                   .dtype = dtype});
  }
  return to;
}

void Arrays::giveBack() {
  for (auto& [array, copy] : copies_)
    if (std::exchange(copy.written, false))
      backend_.download(&context_, array.first, copy.memory->data(), array.second);
}

void* Arrays::place(void* host, size_t bytes, bool written) {
  if (backend_.plainMemory || !host) return host;
  Copy& copy = copies_[{host, bytes}];
  if (!copy.memory) {
    copy.memory = std::make_unique<BackendBuffer>(backend_, bytes);
    backend_.upload(&context_, copy.memory->data(), host, bytes);
  }
  copy.written |= written;
  return copy.memory->data();
}

Dtype Call::rowDtype(const char* key) const {
  if (!has(key)) return Dtype::float32;
  const Dtype given = dtype(key, kRowDtypes);
  if (!backend().runs(given))
    throw Error{.code = "ERR_CLIP_DTYPE",
                .message = std::string("Backend '") + backend().name + "' does not run " + nameOf(given),
                .field = key,
                .actual = nameOf(given)};
  return given;
}

LentMatrix Call::lentMatrix(const char* key, int rows, int cols, Dtype dtype, bool written) {
  const size_t n = rowsOf(rows), numbers = product({n, rowsOf(cols)});
  LentMatrix a;
  a.stride = rowsOf(cols) * bytesOf(dtype), a.dtype = dtype;
  const Element element = dtype == Dtype::float32    ? Element::float32
                          : dtype == Dtype::bfloat16 ? Element::uint16
                                                     : Element::uint8;
  a.data = {static_cast<char*>(lend(key, element, numbers, written)), numbers * bytesOf(dtype), written};
  if (dtype == Dtype::int8) {
    a.rowScale = lent<float>("scale", n, written);
    a.rowZero = lent<int32_t>("zero", n, written);
  }
  return a;
}

void requireFloats(const char* key, Dtype dtype) {
  if (dtype == Dtype::int8) wrong(key, "be 'float32' or 'bfloat16'", "'int8'");
}

int checkedRows(const char* key, int a, int b) {
  const size_t rows = product({rowsOf(a), rowsOf(b)});
  if (rows > INT32_MAX) wrong(key, "make at most 2147483647 rows", std::to_string(rows));
  return static_cast<int>(rows);
}

}  // namespace clip::ops
