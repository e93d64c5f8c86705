#pragma once
// What the cases of timing share: memory, and launches that can be repeated.
#include "check_support.h"
#include "context.h"
#include "timing.h"

namespace clip::cuda::timing {

// Memory of one case, which is freed with it.
class Bench {
 public:
  Bench(Stream& stream, bool small) : small(small), stream_(stream) {}

  const bool small;
  Stream& stream() { return stream_; }
  void* zeros(size_t bytes);

 private:
  Stream& stream_;
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
};

// The cases of ops/, in memory of a timing.
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
