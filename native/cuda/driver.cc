#include "driver.h"

#include <dlfcn.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <utility>

namespace clip::cuda {
namespace {

[[noreturn]] void refuse(const std::string& message, const std::string& field, const std::string& expected,
                         const std::string& actual) {
  throw Error{
      .code = "ERR_CLIP_CUDA", .message = message, .field = field, .expected = expected, .actual = actual};
}

std::string nameOf(const Driver& cu, CUresult r) {
  const char* name = nullptr;
  // An old driver may not know a code that newer drivers document.
  if (cu.cuGetErrorName.result(r, &name) != CUDA_SUCCESS || !name)
    return "CUresult " + std::to_string(static_cast<unsigned>(r));
  return name;
}

// After one of these, every call in the context fails.
constexpr std::pair<CUresult, const char*> kLost[] = {
#define CLIP_CUDA_CODE(code) \
  { code, #code }
    CLIP_CUDA_CODE(CUDA_ERROR_DEINITIALIZED),
    CLIP_CUDA_CODE(CUDA_ERROR_ECC_UNCORRECTABLE),
    CLIP_CUDA_CODE(CUDA_ERROR_ILLEGAL_ADDRESS),
    CLIP_CUDA_CODE(CUDA_ERROR_LAUNCH_TIMEOUT),
    CLIP_CUDA_CODE(CUDA_ERROR_CONTEXT_IS_DESTROYED),
    CLIP_CUDA_CODE(CUDA_ERROR_ASSERT),
    CLIP_CUDA_CODE(CUDA_ERROR_HARDWARE_STACK_ERROR),
    CLIP_CUDA_CODE(CUDA_ERROR_ILLEGAL_INSTRUCTION),
    CLIP_CUDA_CODE(CUDA_ERROR_MISALIGNED_ADDRESS),
    CLIP_CUDA_CODE(CUDA_ERROR_INVALID_ADDRESS_SPACE),
    CLIP_CUDA_CODE(CUDA_ERROR_INVALID_PC),
    CLIP_CUDA_CODE(CUDA_ERROR_LAUNCH_FAILED),
    CLIP_CUDA_CODE(CUDA_ERROR_UNKNOWN),
#undef CLIP_CUDA_CODE
};

// Opens the library, looks up every function and initialises the driver.
void open(Driver& cu) {
  const char* path = std::getenv("CLIP_NATIVE_LIBCUDA");
  const std::string library = path && *path ? path : "libcuda.so.1";
  // Never closed: the driver has threads and exit handlers of its own.
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* why = dlerror();
    refuse("There is no NVIDIA driver here: " + std::string(why ? why : "dlopen failed") + ".", library,
           "an NVIDIA driver", "none");
  }
#define CLIP_CUDA_FUNCTION(name_, symbol, ...)                                           \
  cu.name_.name = #name_;                                                                \
  cu.name_.owner = &cu;                                                                  \
  cu.name_.f = reinterpret_cast<decltype(cu.name_.f)>(dlsym(handle, #symbol));           \
  if (!cu.name_.f)                                                                       \
    refuse("The NVIDIA driver is too old: " + library + " has no " #symbol ".", #symbol, \
           "a driver of 2021 or later (470)", "an older one");
  CLIP_CUDA_FUNCTIONS(CLIP_CUDA_FUNCTION)
#undef CLIP_CUDA_FUNCTION
  cu.cuInit(0);
  cu.cuDriverGetVersion(&cu.version);
}

}  // namespace

void fail(const Driver& cu, const char* function, CUresult r, const std::string& during) {
  const std::string name = nameOf(cu, r);
  const char* description = nullptr;
  if (cu.cuGetErrorString.result(r, &description) != CUDA_SUCCESS || !description)
    description = "no description";
  throw Error{.code = r == CUDA_ERROR_OUT_OF_MEMORY ? "ERR_CLIP_MEMORY" : "ERR_CLIP_CUDA",
              .message = std::string(function) + " failed" + (during.empty() ? "" : " " + during) + ": " +
                         name + ", " + description + ".",
              .field = function,
              .expected = "CUDA_SUCCESS",
              .actual = name};
}

const Driver& driver() {
  static std::mutex mutex;
  static Driver* opened = nullptr;  // exists as long as the library, which is never closed
  const std::lock_guard<std::mutex> lock(mutex);
  if (!opened) {
    auto attempt = std::make_unique<Driver>();
    open(*attempt);
    opened = attempt.release();
  }
  return *opened;
}

bool isLost(CUresult r) {
  for (const auto& [code, name] : kLost)
    if (code == r) return true;
  return false;
}

bool isLost(const Error& e) {
  for (const auto& [code, name] : kLost)
    if (e.actual == name) return true;
  return false;
}

std::vector<Device> devices() {
  const Driver& cu = driver();
  int count = 0;
  cu.cuDeviceGetCount(&count);
  if (count == 0) fail(cu, "cuDeviceGetCount", CUDA_ERROR_NO_DEVICE);
  std::vector<Device> all;
  for (int i = 0; i < count; i++) {
    CUdevice handle = 0;
    cu.cuDeviceGet(&handle, i);
    const auto attribute = [&](CUdevice_attribute which) {
      int value = 0;
      cu.cuDeviceGetAttribute(&value, which, handle);
      return value;
    };
    char name[256] = "";
    cu.cuDeviceGetName(name, sizeof name, handle);
    Device d{.index = i,
             .name = name,
             .capability = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                           attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
             .memory = 0,
             .multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
             .sharedPerBlock = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
             .reason = ""};
    cu.cuDeviceTotalMem(&d.memory, handle);
    if (d.capability < kLeastCapability)
      d.reason = "compute capability " + std::to_string(d.capability / 10) + "." +
                 std::to_string(d.capability % 10) + " is below 8.0";
    else if (attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_MODE) == 2)
      d.reason = "its compute mode is 'prohibited'";
    all.push_back(std::move(d));
  }
  return all;
}

}  // namespace clip::cuda
