#include "ops/machine.h"

#include <cstdio>
#include <cstring>

#include "half.h"

namespace clip::ops {
namespace {

uint16_t toHalf(float v, Dtype dtype) { return dtype == Dtype::bfloat16 ? toBfloat16(v) : toFloat16(v); }

}  // namespace

Values normal(uint32_t seed, int rows, int cols, float scale, Dtype dtype) {
  Values values(rows, cols);
  uint32_t state = seed * 2654435761u + 1;
  for (float& v : values.data) {
    int sum = 0;
    for (int i = 0; i < 4; i++) {
      state = state * 1664525u + 1013904223u;
      sum += static_cast<int>(state >> 16) - 32768;
    }
    v = static_cast<float>(sum) / 37837 * scale;  // a deviation of 1
  }
  return rounded(std::move(values), dtype);
}

Values rounded(Values values, Dtype dtype) {
  if (dtype != Dtype::float32)
    for (float& v : values.data) {
      const uint16_t half = toHalf(v, dtype);
      v = widen(&half, dtype, 0);
    }
  return values;
}

Values absolute(Values values) {
  for (float& v : values.data) v = std::fabs(v);
  return values;
}

double epsilon(Dtype t) { return t == Dtype::bfloat16 ? 0x1p-8 : t == Dtype::float16 ? 0x1p-11 : 0x1p-24; }

std::string compare(const Values& got, const Values& want, const Bound& bound) {
  for (int r = 0; r < want.rows; r++)
    for (int c = 0; c < want.cols; c++) {
      const double x = got.row(r)[c], y = want.row(r)[c], most = bound(r, c);
      if (x == y || (std::isnan(y) ? std::isnan(x) : std::fabs(x - y) <= most)) continue;
      char text[160];
      std::snprintf(text, sizeof text, "row %d, column %d: %.9g instead of %.9g, bound %.3g", r, c, x, y,
                    most);
      return text;
    }
  return "";
}

Context& Machine::reference() {
  static Context* const context = referenceBackend.open(1);
  return *context;
}

MatrixView Machine::matrix(int rows, int cols, Dtype dtype) {
  const size_t stride = lineStride(static_cast<size_t>(cols) * bytesOf(dtype));
  return {.data = take(static_cast<size_t>(rows) * stride), .stride = stride, .dtype = dtype};
}

MatrixView Machine::matrix(const Values& values, Dtype dtype) {
  const MatrixView a = matrix(values.rows, values.cols, dtype);
  std::vector<char> bytes(static_cast<size_t>(values.rows) * a.stride, static_cast<char>(0xff));
  for (int r = 0; r < values.rows; r++) {
    char* row = bytes.data() + static_cast<size_t>(r) * a.stride;
    for (int c = 0; c < values.cols; c++)
      if (dtype == Dtype::float32)
        reinterpret_cast<float*>(row)[c] = values.row(r)[c];
      else
        reinterpret_cast<uint16_t*>(row)[c] = toHalf(values.row(r)[c], dtype);
  }
  upload(a.data, bytes.data(), bytes.size());
  return a;
}

MatrixView Machine::output(int rows, int cols, Dtype dtype) {
  MatrixView a = matrix(rows, cols + 2, dtype);
  a.data = static_cast<char*>(a.data) + 2 * bytesOf(dtype);
  return a;
}

Values Machine::values(const MatrixView& a, int rows, int cols) {
  std::vector<char> bytes(static_cast<size_t>(rows - 1) * a.stride +
                          static_cast<size_t>(cols) * bytesOf(a.dtype));
  download(bytes.data(), a.data, bytes.size());
  Values values(rows, cols);
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < cols; c++)
      values.row(r)[c] = widen(bytes.data() + static_cast<size_t>(r) * a.stride, a.dtype, c);
  return values;
}

std::vector<float> Machine::floats(const float* from, size_t count) {
  std::vector<float> values(count);
  download(values.data(), from, count * sizeof(float));
  return values;
}

std::string Machine::compareMatrix(const MatrixView& y, const Values& want, const Bound& bound) {
  const size_t width = static_cast<size_t>(want.cols) * bytesOf(y.dtype);
  std::vector<char> bytes(static_cast<size_t>(want.rows - 1) * y.stride + width);
  download(bytes.data(), y.data, bytes.size());
  for (size_t i = 0; i < bytes.size(); i++)
    if (i % y.stride >= width && bytes[i] != static_cast<char>(0xff))
      return "byte " + std::to_string(i % y.stride) + " of row " + std::to_string(i / y.stride) +
             ", outside the matrix, was written";
  return compare(values(y, want.rows, want.cols), want, bound);
}

std::string size(int a, int b) { return std::to_string(a) + " x " + std::to_string(b); }

std::string inDtype(Dtype t) {
  return t == Dtype::bfloat16 ? " in bfloat16" : t == Dtype::float16 ? " in float16" : "";
}

}  // namespace clip::ops
