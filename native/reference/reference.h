#pragma once
// The reference backend's table and those of its functions that are defined in other files.
#include "backend.h"
#include "half.h"
#include "threads/threads.h"

namespace clip {

extern const Backend referenceBackend;

namespace reference {

#define CLIP_DECLARE(op, Arguments) void op(Context&, const Arguments&);
CLIP_OPS(CLIP_DECLARE)
#undef CLIP_DECLARE

// linear.cc
// relu, which is applied after a residual, is left to the caller.
double activate(Activation, double v);
size_t packedSize(Dtype, int in, int out);
bool pack(const Pack&);
// Converts x (cols) to y's dtype and writes it as row r of y.
void writeRow(const MatrixView& y, int r, const float* x, int cols);

inline const void* rowOf(const MatrixView& a, int r) {
  return static_cast<const char*>(a.data) + static_cast<size_t>(r) * a.stride;
}
// A row of float32.
inline const float* in(const MatrixView& a, int r) { return static_cast<const float*>(rowOf(a, r)); }
inline float* out(const MatrixView& a, int r) { return const_cast<float*>(in(a, r)); }
// One number of a float32 or bfloat16 matrix.
inline double number(const MatrixView& a, int r, size_t c) { return widen(rowOf(a, r), a.dtype, c); }
inline void put(const MatrixView& a, int r, size_t c, double v) {
  if (a.dtype == Dtype::bfloat16)
    static_cast<uint16_t*>(const_cast<void*>(rowOf(a, r)))[c] = toBfloat16(static_cast<float>(v));
  else
    out(a, r)[c] = static_cast<float>(v);
}

// Runs body(r) for every row, on the context's threads.
template <class F>
void eachRow(int threads, int rows, const F& body) {
  parallelFor(
      threads, rows, [](const void* f, int r, int) { (*static_cast<const F*>(f))(r); }, &body);
}

}  // namespace reference
}  // namespace clip
