#pragma once
// NVIDIA's driver, opened on first use: nothing is linked, and machines without it are not affected. Every
// call is made through this interface, which checks its result:
//
//   const Driver& cu = driver();
//   cu.cuMemAlloc(&address, bytes);           // throws unless CUDA_SUCCESS
// the code itself, for example for clean-up, which must not throw
//   if (cu.cuStreamQuery.result(stream)) ...
//
// Errors: ERR_CLIP_MEMORY for CUDA_ERROR_OUT_OF_MEMORY, ERR_CLIP_CUDA for all others. `field` is the function
// ("cuLaunchKernel"), `actual` the name of the code ("CUDA_ERROR_LAUNCH_FAILED"); the message also contains
// its description. An error in a kernel is reported by the next call, whichever that is, and then by every
// call: see isLost.
#include <cstddef>
#include <string>
#include <vector>

#include "driver_types.h"
#include "error.h"

namespace clip::cuda {

struct Driver;

// Throws the error for a call's failure. `during`: what was being done, in words, for the message ("" for
// none).
[[noreturn]] void fail(const Driver&, const char* function, CUresult, const std::string& during = {});

template <class... A>
struct DriverFunction {
  const char* name;  // without "_v2"
  CUresult (*f)(A...);
  const Driver* owner;

  void operator()(A... a) const {
    const CUresult r = f(a...);
    if (r != CUDA_SUCCESS) fail(*owner, name, r);
  }
  CUresult result(A... a) const { return f(a...); }
};

struct Driver {
#define CLIP_CUDA_FUNCTION(name, symbol, ...) DriverFunction<__VA_ARGS__> name;
  CLIP_CUDA_FUNCTIONS(CLIP_CUDA_FUNCTION)
#undef CLIP_CUDA_FUNCTION
  int version;  // newest CUDA version that this driver supports: 13000 is 13.0

  Driver() = default;
  Driver(const Driver&) = delete;
};

// The initialised driver; always the same object. May be called from any thread. Throws ERR_CLIP_CUDA if
// there is no driver (the next call tries again), if it lacks a function, or if cuInit fails.
//
// CLIP_NATIVE_LIBCUDA=path, for tests only: opens this library instead of libcuda.so.1 (cuda/emulator/ builds
// one).
const Driver& driver();

// Whether the context that returned this code is permanently unusable: everything in it must be freed, and
// only a new context, if one can be created, can run kernels again.
bool isLost(CUresult);
bool isLost(const Error&);  // the same for an error that was caught

// The minimal compute capability, times 10: bfloat16, cp.async and mma.m16n8k16 need it.
constexpr int kLeastCapability = 80;

struct Device {
  int index;         // in the driver's numbering, which CUDA_VISIBLE_DEVICES changes
  std::string name;  // "NVIDIA H100 80GB HBM3"
  int capability;    // times 10: 90 is 9.0
  size_t memory;     // total bytes
  int multiprocessors;
  int sharedPerBlock;  // bytes of shared memory available to a block
  std::string reason;  // why our kernels can't run on it; "" if they can
};

// Every device that the driver knows. Throws like driver(); having no device is an error too
// (CUDA_ERROR_NO_DEVICE).
std::vector<Device> devices();

}  // namespace clip::cuda
