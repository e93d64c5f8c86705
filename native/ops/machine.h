#pragma once
// The cases of an op on a machine that runs ops on memory of its own, a GPU or an emulator: numbers, their
// copies there, what the reference makes of the same numbers, and the comparison.
#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ops/cases.h"
#include "reference/reference.h"

namespace clip::ops {

// A dense matrix of float32 in this process.
struct Values {
  int rows, cols;
  std::vector<float> data;
  Values(int rows, int cols) : rows(rows), cols(cols), data(static_cast<size_t>(rows) * cols) {}
  float* row(int r) { return data.data() + static_cast<size_t>(r) * cols; }
  const float* row(int r) const { return data.data() + static_cast<size_t>(r) * cols; }
  MatrixView view() {
    return {.data = data.data(), .stride = static_cast<size_t>(cols) * 4, .dtype = Dtype::float32};
  }
};
// Pseudo-random numbers about 0, as a bell; each rounded to what `dtype` holds.
Values normal(uint32_t seed, int rows, int cols, float scale = 1, Dtype dtype = Dtype::float32);
Values rounded(Values, Dtype);
Values absolute(Values);
double epsilon(Dtype);                                     // unit round-off
inline double summed(int n) { return (n + 8) * 0x1p-23; }  // a float32 sum of n terms, in units of its size

using Bound = std::function<double(int row, int col)>;
// "" or the first number that is off; a NaN is for a NaN only.
std::string compare(const Values& got, const Values& want, const Bound&);

// Runs ops, and has memory.
class Machine {
 public:
  virtual ~Machine() = default;
  // Memory of bytes 0xff, a NaN in every type, until the machine is reset.
  virtual void* take(size_t bytes) = 0;
  virtual void upload(void* there, const void* here, size_t bytes) = 0;
  virtual void download(void* here, const void* there, size_t bytes) = 0;
#define CLIP_RUN(op, Arguments) virtual void run(const Arguments&) = 0;
  CLIP_ROW_OPS(CLIP_RUN)
#undef CLIP_RUN

  template <class T>
  T* copy(const std::vector<T>& values) {
    T* place = static_cast<T*>(take(values.size() * sizeof(T)));
    upload(place, values.data(), values.size() * sizeof(T));
    return place;
  }
  // Rows with a stride of their own.
  MatrixView matrix(int rows, int cols, Dtype);
  MatrixView matrix(const Values&, Dtype);
  // The same for what an op writes: it begins where only 4 bytes are aligned.
  MatrixView output(int rows, int cols, Dtype);
  Values values(const MatrixView&, int rows, int cols);
  std::vector<float> floats(const float* from, size_t count);
  // The same of y, and that nothing between its rows was written.
  std::string compareMatrix(const MatrixView& y, const Values& want, const Bound&);
  static Context& reference();
};

// A case of an op on a machine. It may be run again and again.
struct Made {
  std::function<void()> run;
  std::function<std::string()> difference;  // of what the last run wrote from the reference
  std::string shape;                        // in words
  double flops, bytes;                      // of use, each once, as in cuda/report.md
};
// The run of a call whose struct lives as long as the case.
template <class Arguments>
std::function<void()> running(Machine& m, const Arguments& call) {
  return [&m, call] { m.run(call); };
}

// For Made::shape: "7 x 300" and " in bfloat16".
std::string size(int a, int b);
std::string inDtype(Dtype);
inline float scaleOf(const Case& c) { return static_cast<float>(c.number("scale", 1)); }

// What `dtypes` of an op may be: the types in which it stores rows, or float32 alone.
inline constexpr Dtype kStored[] = {Dtype::float32, Dtype::bfloat16, Dtype::float16};
inline constexpr Dtype kFloat32[] = {Dtype::float32};

// Of each op that goes row by row, in its own file: how a case becomes a call of the op in one of its dtypes,
// and how far the result may be from the reference.
#define CLIP_DECLARE(op, Arguments)        \
  namespace op {                           \
  std::span<const Dtype> dtypes();         \
  Made made(Machine&, const Case&, Dtype); \
  }
CLIP_ROW_OPS(CLIP_DECLARE)
#undef CLIP_DECLARE

}  // namespace clip::ops
