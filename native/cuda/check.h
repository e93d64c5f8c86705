#pragma once
// Every kernel once on this device, against native/reference*.cc: what a driver or a GPU that nobody has
// tried may get wrong. Small shapes: milliseconds.
#include <functional>
#include <string>
#include <vector>

namespace clip::cuda {

struct KernelCheck {
  const char* kernel;      // a name of kernels.h
  std::string difference;  // the first number that is off by more than its bound; "": none is
};

// One entry for each kernel of kernels.h. `go` is asked between kernels; false: the rest is left out.
// Throws ERR_CLIP_CUDA, ERR_CLIP_MEMORY.
std::vector<KernelCheck> checkKernels(const std::function<bool()>& go);

// What the result is good for: names kernels, driver and device.
struct DeviceIdentity {
  std::string name, fingerprint, image;
  int driver, capability;
  size_t memory;
};
DeviceIdentity deviceIdentity();  // throws as chooseBackend("cuda") does, too

}  // namespace clip::cuda
