#pragma once
// What the checks of kernels have in common: numbers, their copies on the device, and comparing.
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "context.h"
#include "reference/reference.h"

namespace clip::cuda::check {

// A dense matrix of float32 in this process.
struct Values {
  int rows, cols;
  std::vector<float> data;
  Values(int rows, int cols) : rows(rows), cols(cols), data(static_cast<size_t>(rows) * cols) {}
  float* row(int r) { return data.data() + static_cast<size_t>(r) * cols; }
  const float* row(int r) const { return data.data() + static_cast<size_t>(r) * cols; }
  Activations activations() {
    return {.data = data.data(), .stride = static_cast<size_t>(cols) * 4, .dtype = Dtype::float32};
  }
};
// Pseudo-random numbers about 0, as a bell; each rounded to what `dtype` holds.
Values normal(uint32_t seed, int rows, int cols, float scale = 1, Dtype dtype = Dtype::float32);
Values absolute(Values);
double epsilon(Dtype);  // unit round-off

class Device {
 public:
  explicit Device(Stream& stream);
  ~Device();  // waits
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  Stream& stream() { return stream_; }
  Context& context() { return *stream_.context(); }
  static Context& reference();

  // Zeroed memory, until the next check.
  void* take(size_t bytes);
  void reset();
  template <class T>
  T* copy(const std::vector<T>& values) {
    T* place = static_cast<T*>(take(values.size() * sizeof(T)));
    stream_.upload(place, values.data(), values.size() * sizeof(T));
    return place;
  }
  // Rows with a stride of their own.
  Activations matrix(int rows, int cols, Dtype);
  Activations matrix(const Values&, Dtype);
  // (out, packedInputs(in))
  void* weight(const Values&, Dtype);
  Values values(const Activations&, int rows, int cols);
  std::vector<float> floats(const float* from, size_t count);

 private:
  Stream& stream_;
  DeviceMemory memory_;
  size_t used_ = 0;
};

using Bound = std::function<double(int row, int col)>;
// "" or the first number that is off.
std::string compare(const Values& got, const Values& want, const Bound&);

struct Check {
  std::vector<const char*> kernels;  // that it runs, beside those checked before
  std::function<std::string(Device&)> run;
};
// check_attention.cc, check_products.cc, check_rows.cc, check_cosine.cc
void addAttention(std::vector<Check>&);
void addProducts(std::vector<Check>&);
void addRows(std::vector<Check>&);
void addCosine(std::vector<Check>&);

}  // namespace clip::cuda::check
