#pragma once
// The means by which tests run kernels: memory whose bounds are watched, matrices of activations, and the
// machines that execute a kernel: the fiber emulator and, if nvcc was available to emit PTX, the PTX
// interpreter.
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend.h"
#include "launch.h"

namespace device {

// Exactly `bytes` of memory filled with 0xff (NaN in every float type), aligned to 64: AddressSanitizer and
// the PTX interpreter detect every access beyond it.
class Memory {
 public:
  explicit Memory(size_t bytes);
  ~Memory();
  Memory(Memory&&) noexcept;
  Memory& operator=(Memory&&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
};

template <class T>
Memory copyOf(const std::vector<T>& values) {
  Memory memory(values.size() * sizeof(T));
  std::copy(values.begin(), values.end(), memory.as<T>());
  return memory;
}

// A dense matrix of float32, in the form that the reference uses.
struct Values {
  int rows = 0, cols = 0;
  std::vector<float> data;
  Values(int rows, int cols) : rows(rows), cols(cols), data(static_cast<size_t>(rows) * cols) {}
  float* row(int r) { return data.data() + static_cast<size_t>(r) * cols; }
  const float* row(int r) const { return data.data() + static_cast<size_t>(r) * cols; }
  clip::MatrixView view() {
    return {.data = data.data(), .stride = static_cast<size_t>(cols) * 4, .dtype = clip::Dtype::float32};
  }
};
Values normal(uint32_t seed, int rows, int cols, float scale = 1);
// Each number rounded to `dtype`.
float rounded(float, clip::Dtype);
Values rounded(Values, clip::Dtype);
double epsilon(clip::Dtype);  // unit round-off

// A matrix in device memory with a padded stride, after `offset` unused columns.
class Matrix {
 public:
  Matrix(int rows, int cols, clip::Dtype dtype, int offset = 0);
  Matrix(const Values& values, clip::Dtype dtype, int offset = 0);
  clip::MatrixView view() const;
  Values values() const;
  // The bytes of one row.
  std::vector<char> row(int r) const;
  // Returns "", or that something outside the rows was written.
  std::string canary() const;

 private:
  int rows_, cols_, offset_;
  clip::Dtype dtype_;
  size_t stride_;
  Memory memory_;
};

// A machine that runs kernels.
class Machine {
 public:
  virtual ~Machine() = default;
  virtual void run(const clip::cuda::Launch&, const std::vector<const void*>& arguments) const = 0;
  virtual const char* name() const = 0;
};
// The fiber emulator. Everything that it reports is an error of the run: std::runtime_error.
const Machine& fibers();
// The PTX that nvcc emitted for that kernel, from the folder in CUDA_TESTS_PTX; nullptr if that is not set.
const Machine* ptx();

template <class... A>
void run(const Machine& machine, const clip::cuda::Launch& launch, const A&... arguments) {
  machine.run(launch, {&arguments...});
}

// The context of the reference.
clip::Context& referenceContext();

// Returns "", or which number differs by more than bound(row, col). A NaN where the reference has a number is
// a difference, and so is the reverse.
std::string compare(const Values& got, const Values& want, const std::function<double(int, int)>& bound);

}  // namespace device
