#pragma once
// Cases of ops on a machine that runs kernels, a GPU or an emulator: numbers, their copies there, what the
// reference makes of the same, and comparing.
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "context.h"
#include "ops/cases.h"
#include "reference/reference.h"

namespace clip::cuda::check {

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

// What runs kernels, and its memory.
class Machine {
 public:
  virtual ~Machine() = default;
  // Memory of bytes 0xff, a NaN in every type, until the machine is reset.
  virtual void* take(size_t bytes) = 0;
  virtual void upload(void* there, const void* here, size_t bytes) = 0;
  virtual void download(void* here, const void* there, size_t bytes) = 0;
  virtual void run(const Launch&, std::initializer_list<const void*> arguments) = 0;

  template <class T>
  T* copy(const std::vector<T>& values) {
    T* place = static_cast<T*>(take(values.size() * sizeof(T)));
    upload(place, values.data(), values.size() * sizeof(T));
    return place;
  }
  // Rows with a stride of their own.
  MatrixView matrix(int rows, int cols, Dtype);
  MatrixView matrix(const Values&, Dtype);
  // The same for what a kernel writes: it begins where only 4 bytes are aligned.
  MatrixView output(int rows, int cols, Dtype);
  // A weight (out, in) as clip_linear_* and clip_conv_* take it.
  virtual void* weight(const Values&, Dtype);
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
// A kernel of an op that goes row by row or compares rows with each other. It is made in one stored type after
// another, where it has any.
struct RowOp {
  const char *op, *kernel;
  Made (*make)(Machine&, const ops::Case&, Dtype);
  bool dtypes;
};
const std::vector<RowOp>& rowOps();  // case_rows.cc
// case_cosine.cc
Made cosineScores(Machine&, const ops::Case&, Dtype);
Made softmaxRows(Machine&, const ops::Case&, Dtype);
Made cosineTopK(Machine&, const ops::Case&, Dtype);
Made cosineTopKMerge(Machine&, const ops::Case&, Dtype);
Made infoNce(Machine&, const ops::Case&, Dtype);
Made infoNceLoss(Machine&, const ops::Case&, Dtype);

// Matrix products and convolutions, each kernel in its own type.
struct ProductOp {
  const char *op, *kernel;
  Made (*make)(Machine&, const ops::Case&, const ProductOp&);
  Dtype dtype;
  enum Family : uint8_t { skinny, square, float32 } family;
};
const std::vector<ProductOp>& productOps();  // case_products.cc

// Attention by head dimension and type, and what tells its blocks which rows are theirs.
struct AttentionOp {
  const char* kernel;
  Made (*make)(Machine&, const ops::Case&, const AttentionOp&);
  Dtype dtype;
  int dim;  // of heads, and of those below it that have no kernel of their own; 0: of any
  bool takes(const ops::Case&) const;
};
const std::vector<AttentionOp>& attentionOps();  // case_attention.cc

// A GPU.
class Device : public Machine {
 public:
  explicit Device(Stream& stream);
  ~Device() override;  // waits
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void* take(size_t bytes) override;
  void upload(void* there, const void* here, size_t bytes) override { stream_.upload(there, here, bytes); }
  void download(void* here, const void* there, size_t bytes) override {
    stream_.download(here, there, bytes);
  }
  void run(const Launch& launch, std::initializer_list<const void*> arguments) override;
  void reset();

  Stream& stream() { return stream_; }
  Context& context() { return *stream_.context(); }
  void* weight(const Values&, Dtype) override;  // by the backend's pack

 private:
  Stream& stream_;
  DeviceMemory memory_;
  size_t used_ = 0;
};

}  // namespace clip::cuda::check
