// Devices and their primary contexts.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "../state.h"
#include "standin.h"

namespace standin {

namespace {

bool isDevice(CUdevice d) { return d >= 0 && d < static_cast<int>(machine.capabilities.size()); }

void readEnvironment() {
  const auto variable = [](const char* name, const char* otherwise) {
    const char* value = std::getenv(name);
    return std::string(value && *value ? value : otherwise);
  };
  machine.version = std::atoi(variable("CLIP_STANDIN_DRIVER", "13000").c_str());
  machine.memory = std::strtoull(variable("CLIP_STANDIN_MEMORY", "85899345920").c_str(), nullptr, 10);
  machine.eager = variable("CLIP_STANDIN_EAGER", "") == "1";
  machine.ptx = variable("CLIP_STANDIN_PTX", "") == "1";
  emulator::options.check = variable("CLIP_STANDIN_UNCHECKED", "") != "1";
  emulator::options.stopAtReport = true;
  machine.capabilities.clear();
  const std::string list = variable("CLIP_STANDIN_DEVICES", "90");
  for (size_t from = 0; list != "none" && from < list.size(); from = list.find(',', from) + 1) {
    machine.capabilities.push_back(std::atoi(list.c_str() + from));
    if (list.find(',', from) == std::string::npos) break;
  }
  for (size_t i = machine.contexts.size(); i < machine.capabilities.size(); i++) {
    machine.contexts.push_back(std::make_unique<CUctx_st>());
    machine.contexts.back()->device = static_cast<int>(i);
  }
}

// Counts the remaining objects of a kind and destroys them.
template <class T>
int left(CUcontext context) {
  int count = 0;
  for (const auto& [key, object] : all<T>())
    if (object->alive && object->context == context) {
      object->alive = false;
      count++;
    }
  return count;
}

void endContext(CUcontext context) {
  // Nothing in a lost context can be freed, so it is unknown whether the caller tried.
  const bool lost = context->lost != CUDA_SUCCESS;
  const auto leak = [&](int count, const char* what) {
    if (count && !lost)
      report("leak: " + std::to_string(count) + " " + what + " in the context of device " +
             std::to_string(context->device));
  };
  for (CUstream s : context->streams) drain(s);
  context->streams.clear();
  leak(left<CUstream_st>(context), "streams");
  leak(left<CUevent_st>(context), "events");
  leak(left<CUgraph_st>(context), "graphs");
  leak(left<CUgraphExec_st>(context), "executable graphs");
  leak(left<CUmod_st>(context), "modules");
  for (const bool pinned : {false, true}) {
    std::vector<uintptr_t> mine;
    for (const auto& [at, piece] : pieces)
      if (piece.context == context && piece.pinned == pinned) mine.push_back(at);
    leak(static_cast<int>(mine.size()), pinned ? "pieces of pinned memory" : "pieces of memory");
    for (const uintptr_t at : mine) release(at, pinned);
  }
  context->lost = CUDA_SUCCESS;
}

}  // namespace

STANDIN cuInit(unsigned flags) {
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  log("cuInit");
  if (flags) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult r = injected("cuInit"); r != CUDA_SUCCESS) return r;
  if (std::none_of(machine.contexts.begin(), machine.contexts.end(),
                   [](const auto& c) { return c->retained > 0; }))
    readEnvironment();
  if (machine.capabilities.empty()) return CUDA_ERROR_NO_DEVICE;
  machine.initialised = true;
  return CUDA_SUCCESS;
}

STANDIN cuDriverGetVersion(int* out) {
  *out = machine.version;
  return CUDA_SUCCESS;
}

STANDIN cuDeviceGetCount(int* out) {
  STANDIN_CALL(cuDeviceGetCount, kNothing);
  *out = static_cast<int>(machine.capabilities.size());
  return CUDA_SUCCESS;
}

STANDIN cuDeviceGet(CUdevice* out, int index) {
  STANDIN_CALL(cuDeviceGet, kNothing);
  if (!isDevice(index)) return CUDA_ERROR_INVALID_DEVICE;
  *out = index;
  return CUDA_SUCCESS;
}

STANDIN cuDeviceGetName(char* out, int bytes, CUdevice d) {
  STANDIN_CALL(cuDeviceGetName, kNothing);
  if (!isDevice(d)) return CUDA_ERROR_INVALID_DEVICE;
  std::snprintf(out, static_cast<size_t>(bytes), "libcuda stand-in %d",
                machine.capabilities[static_cast<size_t>(d)]);
  return CUDA_SUCCESS;
}

STANDIN cuDeviceGetAttribute(int* out, CUdevice_attribute which, CUdevice d) {
  STANDIN_CALL(cuDeviceGetAttribute, kNothing);
  if (!isDevice(d)) return CUDA_ERROR_INVALID_DEVICE;
  const int capability = machine.capabilities[static_cast<size_t>(d)];
  switch (which) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *out = capability / 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *out = capability % 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *out = 108;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE:
      *out = 0;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      // KB of shared memory available to a block, from the table in the programming guide.
      *out = (capability < 80                       ? 64
              : capability == 80                    ? 163
              : capability < 90 || capability > 119 ? 99
                                                    : 227)
             << 10;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

STANDIN cuDeviceTotalMem_v2(size_t* out, CUdevice d) {
  STANDIN_CALL(cuDeviceTotalMem, kNothing);
  if (!isDevice(d)) return CUDA_ERROR_INVALID_DEVICE;
  *out = machine.memory;
  return CUDA_SUCCESS;
}

STANDIN cuDevicePrimaryCtxRetain(CUcontext* out, CUdevice d) {
  STANDIN_CALL(cuDevicePrimaryCtxRetain, kNothing);
  if (!isDevice(d)) return CUDA_ERROR_INVALID_DEVICE;
  *out = machine.contexts[static_cast<size_t>(d)].get();
  (*out)->retained++;
  return CUDA_SUCCESS;
}

STANDIN cuDevicePrimaryCtxRelease_v2(CUdevice d) {
  STANDIN_CALL(cuDevicePrimaryCtxRelease, kNothing);
  if (!isDevice(d)) return CUDA_ERROR_INVALID_DEVICE;
  CUcontext context = machine.contexts[static_cast<size_t>(d)].get();
  if (context->retained == 0) {
    report("cuDevicePrimaryCtxRelease: nobody retains it");
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  if (--context->retained == 0) endContext(context);
  return CUDA_SUCCESS;
}

STANDIN cuCtxSetCurrent(CUcontext context) {
  STANDIN_CALL(cuCtxSetCurrent, kNothing);
  if (context && !context->retained) return CUDA_ERROR_INVALID_CONTEXT;
  current = context;
  return CUDA_SUCCESS;
}

STANDIN cuCtxGetCurrent(CUcontext* out) {
  STANDIN_CALL(cuCtxGetCurrent, kNothing);
  *out = current;
  return CUDA_SUCCESS;
}

STANDIN cuMemGetInfo_v2(size_t* free, size_t* total) {
  STANDIN_CALL(cuMemGetInfo, kContext);
  *free = machine.memory - usedBytes(current);
  *total = machine.memory;
  return CUDA_SUCCESS;
}

}  // namespace standin
