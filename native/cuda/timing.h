#pragma once
// How long every kernel takes on this device, on shapes that models have.
#include <functional>
#include <string>
#include <vector>

namespace clip::cuda {

struct KernelTiming {
  const char* kernel;  // a name of kernels.h
  std::string shape;   // in words
  // Of a launch: arithmetic of use, and what it must read and write, each once. cuda/report.md counts alike.
  double flops, bytes;
  bool tensor;          // tensor cores do the arithmetic
  double microseconds;  // of a launch: the fastest of several rounds
};

// At least one entry for each kernel of kernels.h. seconds: about how long each runs. small: shapes of no use
// for timing, that an emulator gets through. `go` is asked between kernels; false: the rest is left out.
// Throws ERR_CLIP_CUDA, ERR_CLIP_MEMORY.
std::vector<KernelTiming> timeKernels(double seconds, bool small, const std::function<bool()>& go);

}  // namespace clip::cuda
