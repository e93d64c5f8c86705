#pragma once
// Measures the time of every kernel on this device, on shapes that occur in models.
#include <functional>
#include <string>
#include <vector>

namespace clip::cuda {

struct KernelTiming {
  const char* kernel;  // a name of kernels.h
  std::string shape;   // in words
  // Per launch: the useful arithmetic, and the bytes that it must read and write, each counted once, as in
  // cuda/report.md.
  double flops, bytes;
  bool tensor;          // whether tensor cores do the arithmetic
  double microseconds;  // per launch, in the fastest of several rounds
};

// At least one entry for each kernel of kernels.h. seconds: about how long each is run. small: shapes that
// are useless for timing, but small enough for an emulator. `go` is called between kernels; if it returns
// false, the rest is left out. Throws ERR_CLIP_CUDA, ERR_CLIP_MEMORY.
std::vector<KernelTiming> timeKernels(double seconds, bool small, const std::function<bool()>& go);

}  // namespace clip::cuda
