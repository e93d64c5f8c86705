// Modules, functions and launches.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "standin.h"

namespace standin {
namespace {

constexpr uint32_t kFatbin = 0xba55ed50;
constexpr uint16_t kMachineCode = 2;
constexpr size_t kHeader = 16;

template <class T>
T at(const char* image, size_t offset) {
  T value;
  std::memcpy(&value, image + offset, sizeof value);
  return value;
}

int capability() { return machine.capabilities[static_cast<size_t>(current->device)]; }

// Selects the image for this device in a fatbin: of its major version, the newest one that is not newer than
// the device.
CUresult loadFatbin(CUmod_st* m, const char* image) {
  // made by a later CUDA version
  if (machine.version < 13000 || machine.ptx) return CUDA_ERROR_INVALID_IMAGE;
  const size_t end = kHeader + at<uint64_t>(image, 8);
  for (size_t entry = at<uint16_t>(image, 6); entry < end;) {
    const auto header = at<uint32_t>(image, entry + 4);
    const auto bytes = static_cast<size_t>(at<uint64_t>(image, entry + 8));
    const auto architecture = static_cast<int>(at<uint32_t>(image, entry + 28));
    if (at<uint16_t>(image, entry) == kMachineCode && architecture / 10 == capability() / 10 &&
        architecture <= capability() && architecture > m->architecture) {
      m->architecture = architecture;
      m->code.assign(image + entry + header, bytes);
    }
    entry += header + bytes;
  }
  return m->architecture ? CUDA_SUCCESS : CUDA_ERROR_NO_BINARY_FOR_GPU;
}

CUresult loadPtx(CUmod_st* m, const char* image, std::string* why) {
  int major = 0, minor = 0, target = 0;
  if (std::sscanf(image, ".version %d.%d .target sm_%d", &major, &minor, &target) != 3)
    return CUDA_ERROR_INVALID_IMAGE;
  // CUDA 11.0 introduced PTX 7.0, 12.0 introduced 8.0, 13.0 introduced 9.0, and each minor version one more.
  if (major * 10 + minor > machine.version / 1000 * 10 - 40 + machine.version % 1000 / 10) {
    *why = "ptxas: Unsupported .version " + std::to_string(major) + "." + std::to_string(minor);
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  }
  if (target > capability()) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  m->architecture = capability();
  m->code = image;
  if (machine.ptx) m->ptx = std::make_shared<emulator::ptx::Module>(emulator::ptx::parse(m->code));
  return CUDA_SUCCESS;
}

// The sizes of a kernel's parameters according to the PTX; empty for machine code.
std::vector<size_t> parameterBytes(const std::string& ptx, const std::string& name) {
  std::vector<size_t> sizes;
  const size_t entry = ptx.find(".entry " + name + "(");
  if (entry == std::string::npos) return sizes;
  const std::string head = ptx.substr(entry, ptx.find('{', entry) - entry);
  for (size_t p = head.find(".param"); p != std::string::npos; p = head.find(".param", p + 1)) {
    const size_t bracket = head.find('[', p), next = head.find(".param", p + 1);
    sizes.push_back(bracket < next ? std::strtoul(head.c_str() + bracket + 1, nullptr, 10)
                    : head.compare(p + 7, 4, ".u64") == 0 ? 8
                                                          : 4);
  }
  return sizes;
}

}  // namespace

CUresult loadImage(CUmod_st* m, const void* data, std::string* why) {
  const auto* image = static_cast<const char*>(data);
  return at<uint32_t>(image, 0) == kFatbin ? loadFatbin(m, image) : loadPtx(m, image, why);
}

CUfunction findFunction(CUmodule m, const std::string& name) {
  const bool isPtx = m->code.compare(0, 8, ".version") == 0;
  // Machine code contains a section .text.NAME for each kernel.
  const std::string mark = isPtx ? ".entry " + name + "(" : std::string(".text.") + name + '\0';
  const auto kernel = emulator::kernels().find(name);
  if (m->code.find(mark) == std::string::npos || kernel == emulator::kernels().end()) return nullptr;
  if (isPtx && parameterBytes(m->code, name) != kernel->second.bytes) {
    report("cuModuleGetFunction: " + name + " was compiled with other arguments than its source has");
    return nullptr;
  }
  CUfunc_st& f = m->functions[name];
  f.context = m->context;
  f.name = name;
  f.kernel = &kernel->second;
  f.module = m;
  f.architecture = m->architecture;
  return &f;
}

namespace {

bool isFunction(CUfunction f, const char* function) {
  for (const auto& [key, module] : all<CUmod_st>())
    for (const auto& entry : module->functions)
      if (&entry.second == f) {
        if (module->alive && module->context == current) return true;
        report(std::string(function) + ": " + f->name +
               " is of a module that was unloaded or of another context");
        return false;
      }
  report(std::string(function) + ": no function");
  return false;
}

CUresult runKernel(const std::string& name, emulator::Index3 grid, unsigned threads, unsigned shared,
                   const std::function<void()>& body) {
  log("kernel " + name);
  if (const CUresult r = injected("kernel"); r != CUDA_SUCCESS) return r;
  return onDevice(("by " + name).c_str(), [&] {
    emulator::reports.clear();
    emulator::launch(name.c_str(), grid, {threads, 1, 1}, shared, body);
    for (const auto& [message, times] : emulator::reports) report(message);
    return emulator::reports.empty() ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
  });
}

// Makes a launch, with copied arguments, that runs the kernel's PTX.
std::function<CUresult()> interpreted(CUfunction f, emulator::ptx::Grid grid, void** arguments) {
  std::vector<std::string> values;
  for (size_t i = 0; i < f->kernel->bytes.size(); i++)
    values.emplace_back(static_cast<const char*>(arguments[i]), f->kernel->bytes[i]);
  return [name = f->name, ptx = f->module->ptx, grid, values] {
    log("kernel " + name);
    if (const CUresult r = injected("kernel"); r != CUDA_SUCCESS) return r;
    return onDevice(("by " + name).c_str(), [&] {
      std::vector<const void*> addresses;
      for (const std::string& value : values) addresses.push_back(value.data());
      try {
        emulator::ptx::run(ptx->at(name), grid, addresses.data());
      } catch (const std::exception& fault) {
        report(name + ": " + fault.what());
        return CUDA_ERROR_ILLEGAL_ADDRESS;
      }
      return CUDA_SUCCESS;
    });
  };
}

}  // namespace

STANDIN cuModuleLoadDataEx(CUmodule* out, const void* image, unsigned count, CUjit_option* options,
                           void** values) {
  STANDIN_CALL(cuModuleLoadDataEx, kContext | kNotCapturing);
  if (!out || !image) return CUDA_ERROR_INVALID_VALUE;
  std::string why;
  CUmodule m = make<CUmod_st>();
  const CUresult r = loadImage(m, image, &why);
  m->alive = r == CUDA_SUCCESS;
  if (m->alive) *out = m;
  char* text = nullptr;
  size_t bytes = 0;
  for (unsigned i = 0; i < count; i++) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER) text = static_cast<char*>(values[i]);
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) bytes = reinterpret_cast<uintptr_t>(values[i]);
  }
  if (text) std::snprintf(text, bytes, "%s", why.c_str());
  return r;
}

STANDIN cuModuleUnload(CUmodule m) {
  STANDIN_CALL(cuModuleUnload, kContext | kNotCapturing);
  if (!usable(m, "cuModuleUnload", "module")) return CUDA_ERROR_INVALID_HANDLE;
  m->alive = false;
  m->code.clear();
  return CUDA_SUCCESS;
}

STANDIN cuModuleGetFunction(CUfunction* out, CUmodule m, const char* name) {
  STANDIN_CALL(cuModuleGetFunction, kContext);
  if (!usable(m, "cuModuleGetFunction", "module")) return CUDA_ERROR_INVALID_HANDLE;
  CUfunction f = findFunction(m, name);
  if (!f) return CUDA_ERROR_NOT_FOUND;
  *out = f;
  return CUDA_SUCCESS;
}

STANDIN cuFuncSetAttribute(CUfunction f, CUfunction_attribute which, int value) {
  STANDIN_CALL(cuFuncSetAttribute, kContext);
  if (!isFunction(f, "cuFuncSetAttribute")) return CUDA_ERROR_INVALID_HANDLE;
  int most = 0;
  cuDeviceGetAttribute(&most, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, current->device);
  if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 || value > most)
    return CUDA_ERROR_INVALID_VALUE;
  f->mostShared = value;
  return CUDA_SUCCESS;
}

STANDIN cuFuncGetAttribute(int* out, CUfunction_attribute which, CUfunction f) {
  STANDIN_CALL(cuFuncGetAttribute, kContext);
  if (!isFunction(f, "cuFuncGetAttribute")) return CUDA_ERROR_INVALID_HANDLE;
  switch (which) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *out = static_cast<int>(f->kernel->threads);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *out = f->architecture;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *out = f->mostShared;
      return CUDA_SUCCESS;
    default:
      *out = 0;  // no static shared memory and no local memory; only ptxas knows the registers
      return CUDA_SUCCESS;
  }
}

STANDIN cuLaunchKernel(CUfunction f, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threadsY,
                       unsigned threadsZ, unsigned shared, CUstream s, void** arguments, void** extra) {
  STANDIN_CALL(cuLaunchKernel, kContext);
  if (!isFunction(f, "cuLaunchKernel") || (s && !usable(s, "cuLaunchKernel", "stream")))
    return CUDA_ERROR_INVALID_HANDLE;
  if (!x || !y || !z || x > 0x7fffffff || y > 65535 || z > 65535 || threadsY != 1 || threadsZ != 1 || extra) {
    report("cuLaunchKernel: " + f->name + " with impossible blocks or threads");
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (!threads || threads > f->kernel->threads) {
    report("cuLaunchKernel: " + f->name + " with " + std::to_string(threads) +
           " threads, it was compiled for " + std::to_string(f->kernel->threads));
    return threads > f->kernel->threads ? CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES : CUDA_ERROR_INVALID_VALUE;
  }
  if (static_cast<int>(shared) > f->mostShared || shared > 0x7fffffff) {
    report("cuLaunchKernel: " + f->name + " with " + std::to_string(shared) +
           " bytes of shared memory, it may have " + std::to_string(f->mostShared));
    return CUDA_ERROR_INVALID_VALUE;
  }
  // Simulates a kernel that computes something else: its results stay unchanged.
  const char* skipped = std::getenv("CLIP_STANDIN_SKIP");
  if (skipped && f->name == skipped) return enqueue(s, [] { return CUDA_SUCCESS; });
  if (f->module->ptx) return enqueue(s, interpreted(f, {x, y, z, threads, shared}, arguments));
  // The arguments are copied by the call.
  const std::function<void()> body = (*f->kernel)(arguments);
  return enqueue(s, [name = f->name, x, y, z, threads, shared, body] {
    return runKernel(name, {x, y, z}, threads, shared, body);
  });
}

// Checks that each function has the signature by which the addon calls it.
#define STANDIN_FUNCTION(name, symbol, ...) \
  static_assert(std::is_same_v<decltype(&symbol), CUresult (*)(__VA_ARGS__)>, #symbol);
CLIP_CUDA_FUNCTIONS(STANDIN_FUNCTION)

}  // namespace standin
