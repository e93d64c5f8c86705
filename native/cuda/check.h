#pragma once
// Runs every kernel once on this device and compares it with native/reference, to detect errors of a driver
// or GPU on which the kernels have not been tested. The shapes are small: it takes milliseconds.
#include <functional>
#include <string>
#include <vector>

namespace clip::cuda {

struct KernelCheck {
  const char* kernel;      // a name of kernels.h
  std::string difference;  // the first number that exceeds its bound; "" if there is none
};

// One entry for each kernel of kernels.h. `go` is called between kernels; if it returns false, the rest is
// left out. Throws ERR_CLIP_CUDA, ERR_CLIP_MEMORY.
std::vector<KernelCheck> checkKernels(const std::function<bool()>& go);

// Identifies what the result of a check is valid for: kernels, driver and device.
struct DeviceIdentity {
  std::string name, fingerprint, image;
  int driver, capability;
  size_t memory;
};
DeviceIdentity deviceIdentity();  // also throws like chooseBackend("cuda")

}  // namespace clip::cuda
