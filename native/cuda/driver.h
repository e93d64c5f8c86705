#pragma once
// NVIDIA's driver, opened when it is first asked for: nothing is linked, and a machine without it loses
// nothing. Every call is made through here and checked here:
//
//   const Driver& cu = driver();
//   cu.cuMemAlloc(&address, bytes);           // throws unless CUDA_SUCCESS
//   if (cu.cuStreamQuery.result(stream)) ...  // the code itself; for clean-up, which must not throw, as well
//
// Errors: ERR_CLIP_MEMORY for CUDA_ERROR_OUT_OF_MEMORY, ERR_CLIP_CUDA for all others. `field` is the function
// ("cuLaunchKernel"), `actual` the code's name ("CUDA_ERROR_LAUNCH_FAILED"), the message also has its
// description. A kernel's fault is told by whatever call comes after it, and then by every call: isLost.
#include <cstddef>
#include <string>
#include <vector>

#include "driver_types.h"
#include "error.h"

namespace clip::cuda {

struct Driver;

// Throws what a call's failure means. `during`: what was being done, in words, for the message ("" for none).
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
  int version;  // newest CUDA that this driver knows: 13000 is 13.0

  Driver() = default;
  Driver(const Driver&) = delete;
};

// The driver, initialised; the same object each time. Any thread. Throws ERR_CLIP_CUDA: there is none (the
// next call looks again), it lacks a function, or cuInit fails.
//
// CLIP_NATIVE_LIBCUDA=path, for tests only: this library instead of libcuda.so.1 (cuda/emulator/ builds one).
const Driver& driver();

// Whether the context that this code came from is broken for good: everything in it must be given back, and
// only a new context, if any, can run again.
bool isLost(CUresult);
bool isLost(const Error&);  // the same of an error that was caught

// The least compute capability, times 10: bfloat16, cp.async and mma.m16n8k16 begin there.
constexpr int kLeastCapability = 80;

struct Device {
  int index;         // as the driver counts; CUDA_VISIBLE_DEVICES has its say
  std::string name;  // "NVIDIA H100 80GB HBM3"
  int capability;    // times 10: 90 is 9.0
  size_t memory;     // bytes in all
  int multiprocessors;
  int sharedPerBlock;  // bytes of shared memory that a block can have
  std::string reason;  // why our kernels can't run there; "" if they can
};

// Every device that the driver knows. Throws as driver() does; none is an error too (CUDA_ERROR_NO_DEVICE).
std::vector<Device> devices();

}  // namespace clip::cuda
