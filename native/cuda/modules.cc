#include "modules.h"

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "images.h"
#include "kernels.h"

namespace clip::cuda {
namespace {

// Both exist as long as the process, because a module may be released while the process ends.
std::mutex& modulesMutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}
std::map<int, std::weak_ptr<const Module>>& modules() {
  static auto* all = new std::map<int, std::weak_ptr<const Module>>;
  return *all;
}

// Loads an image. Returns the driver's code and the messages of its compiler.
CUresult loadImage(CUmodule* module, const std::vector<char>& image, std::string* said) {
  char log[4096] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void* values[] = {log, reinterpret_cast<void*>(sizeof log - 1)};
  const CUresult r = driver().cuModuleLoadDataEx.result(module, image.data(), 2, options, values);
  *said = log;
  return r;
}

}  // namespace

std::shared_ptr<const Module> Module::of(int device) {
  const std::lock_guard<std::mutex> lock(modulesMutex());
  std::weak_ptr<const Module>& known = modules()[device];
  if (auto module = known.lock()) {
    module->makeCurrent();
    return module;
  }
  std::vector<Device> all = devices();
  if (device < 0 || device >= static_cast<int>(all.size()))
    throw Error{.code = "ERR_CLIP_CUDA",
                .message = "There is no CUDA device " + std::to_string(device) + ": there are " +
                           std::to_string(all.size()) + ", numbered from 0.",
                .field = "device",
                .expected = "0 to " + std::to_string(all.size() - 1),
                .actual = std::to_string(device)};
  Device& d = all[static_cast<size_t>(device)];
  if (!d.reason.empty())
    throw Error{.code = "ERR_CLIP_CUDA",
                .message = "CUDA device " + std::to_string(device) + ", " + d.name +
                           ", can't be used: " + d.reason + ".",
                .field = "device",
                .expected = "compute capability 8.0 or above",
                .actual = d.reason};
  const std::shared_ptr<Module> module(new Module(std::move(d)));
  known = module;
  return module;
}

Module::Module(Device device) : device_(std::move(device)) {
  const Driver& cu = driver();
  cu.cuDeviceGet(&handle_, device_.index);
  cu.cuDevicePrimaryCtxRetain(&context_, handle_);
  try {
    makeCurrent();
    load();
  } catch (...) {
    release();
    throw;
  }
}

Module::~Module() { release(); }

void Module::load() {
  const Driver& cu = driver();
  std::string said;
  CUresult r = loadImage(&module_, images().machineCode, &said);
  if (r == CUDA_SUCCESS) {
    image_ = "sm";
  } else {
    // A driver older than the compiler's CUDA version rejects the machine code, and for a later GPU there is
    // none: in both cases the driver can compile the PTX. Other errors are not retried.
    if (r == CUDA_ERROR_OUT_OF_MEMORY || isLost(r)) fail(cu, "cuModuleLoadDataEx", r, "for the kernels");
    r = loadImage(&module_, images().ptx, &said);
    if (r != CUDA_SUCCESS)
      fail(cu, "cuModuleLoadDataEx", r, "for the kernels' PTX" + (said.empty() ? "" : " (" + said + ")"));
    image_ = "compute_80";
  }
  for (const char* name : kKernels) {
    CUfunction f = nullptr;
    cu.cuModuleGetFunction(&f, module_, name);
    int fixed = 0;
    cu.cuFuncGetAttribute(&fixed, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, f);
    cu.cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, device_.sharedPerBlock - fixed);
    kernels_[name] = f;
  }
  if (image_ == "sm") {
    int architecture = 0;
    cu.cuFuncGetAttribute(&architecture, CU_FUNC_ATTRIBUTE_BINARY_VERSION, kernels_.begin()->second);
    image_ = "sm_" + std::to_string(architecture);
  }
}

// Does not throw: a lost device returns its error for every call, and its memory is gone anyway.
void Module::release() noexcept {
  const Driver& cu = driver();
  cu.cuCtxSetCurrent.result(context_);
  if (module_) cu.cuModuleUnload.result(module_);
  cu.cuCtxSetCurrent.result(nullptr);
  if (context_) cu.cuDevicePrimaryCtxRelease.result(handle_);
}

void Module::makeCurrent() const { driver().cuCtxSetCurrent(context_); }

CUfunction Module::kernel(const std::string& name) const {
  const auto found = kernels_.find(name);
  if (found == kernels_.end())
    throw Error{.code = "ERR_CLIP_CUDA",
                .message = "There is no kernel " + name + " in this build.",
                .field = "kernel",
                .expected = "a name in kernels.h",
                .actual = name};
  return found->second;
}

void Module::launch(const Launch& l, CUstream stream, std::initializer_list<const void*> arguments) const {
  std::vector<void*> addresses;  // the driver only reads them, although its parameter type is not const
  for (const void* a : arguments) addresses.push_back(const_cast<void*>(a));
  const Driver& cu = driver();
  const CUresult r = cu.cuLaunchKernel.result(kernel(l.kernel), l.x, l.y, l.z, l.threads, 1, 1, l.shared,
                                              stream, addresses.data(), nullptr);
  if (r != CUDA_SUCCESS)
    fail(cu, "cuLaunchKernel", r,
         "for " + std::string(l.kernel) + " (" + std::to_string(l.x) + " x " + std::to_string(l.y) + " x " +
             std::to_string(l.z) + " blocks of " + std::to_string(l.threads) + " threads, " +
             std::to_string(l.shared) + " bytes of shared memory)");
}

std::string Module::fingerprint() const {
  return images().name + "-" + std::to_string(driver().version) + "-" + image_ + "-" + device_.name;
}

}  // namespace clip::cuda
