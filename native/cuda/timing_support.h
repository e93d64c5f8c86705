#pragma once
// What the cases of timing have in common: memory that is filled with numbers, and launches that can be
// repeated.
#include "check_support.h"
#include "context.h"
#include "timing.h"

namespace clip::cuda::timing {

// Memory of one case, given back with it.
class Bench {
 public:
  Bench(Stream& stream, bool small) : small(small), stream_(stream) {}

  const bool small;
  Stream& stream() { return stream_; }
  void* zeros(size_t bytes);
  // Pseudo-random numbers about 0: what is multiplied costs a GPU power, and so clock rate.
  void* numbers(size_t count, Dtype);
  float* floats(size_t count) { return static_cast<float*>(numbers(count, Dtype::float32)); }
  MatrixView matrix(int rows, int cols, Dtype);  // of numbers
  template <class T>
  T* copy(const std::vector<T>& values) {
    void* const place = zeros(values.size() * sizeof(T));
    stream_.upload(place, values.data(), values.size() * sizeof(T));
    return static_cast<T*>(place);
  }
  template <class... A>
  Step launching(const Launch& launch, const A&... arguments) {
    return [module = stream_.module(), launch, arguments...](CUstream s) {
      module->launch(launch, s, {&arguments...});
    };
  }

 private:
  Stream& stream_;
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
};

// Cases of ops/ in memory of a timing.
class Timed : public check::Machine {
 public:
  explicit Timed(Bench& bench) : bench_(bench) {}
  void* take(size_t bytes) override { return bench_.zeros(bytes); }
  void upload(void* there, const void* here, size_t bytes) override {
    bench_.stream().upload(there, here, bytes);
  }
  void download(void* here, const void* there, size_t bytes) override {
    bench_.stream().download(here, there, bytes);
  }
  void run(const Launch& launch, std::initializer_list<const void*> arguments) override {
    bench_.stream().run([&](CUstream s) { bench_.stream().module()->launch(launch, s, arguments); });
  }

 private:
  Bench& bench_;
};

struct Work {
  std::string shape;
  double flops, bytes;
  bool tensor;
  Step step;  // one launch
};
struct Case {
  const char* kernel;
  std::function<Work(Bench&)> prepare;
};
// timing_products.cc, timing_rows.cc
void addProducts(std::vector<Case>&);
void addRows(std::vector<Case>&);

}  // namespace clip::cuda::timing
