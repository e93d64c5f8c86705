// The beginning of every call: order, the log, and requested faults.
#include "standin.h"

#include <cstdio>
#include <cstdlib>
#include <iterator>

namespace standin {

std::recursive_mutex& mutex = *new std::recursive_mutex;
thread_local CUcontext current = nullptr;
Machine& machine = *new Machine;  // never destroyed, because other threads may call while the process ends

namespace {

void append(const char* variable, const std::string& line, bool otherwiseToStderr) {
  const char* path = std::getenv(variable);
  std::FILE* file = path && *path ? std::fopen(path, "a") : nullptr;
  if (file) {
    std::fprintf(file, "%s\n", line.c_str());
    std::fclose(file);
  } else if (otherwiseToStderr) {
    std::fprintf(stderr, "libcuda stand-in: %s\n", line.c_str());
  }
}

constexpr std::pair<CUresult, const char*> kCodes[] = {
#define STANDIN_CODE(code) \
  { code, #code }
    STANDIN_CODE(CUDA_SUCCESS),
    STANDIN_CODE(CUDA_ERROR_INVALID_VALUE),
    STANDIN_CODE(CUDA_ERROR_OUT_OF_MEMORY),
    STANDIN_CODE(CUDA_ERROR_NOT_INITIALIZED),
    STANDIN_CODE(CUDA_ERROR_DEINITIALIZED),
    STANDIN_CODE(CUDA_ERROR_NO_DEVICE),
    STANDIN_CODE(CUDA_ERROR_INVALID_DEVICE),
    STANDIN_CODE(CUDA_ERROR_INVALID_IMAGE),
    STANDIN_CODE(CUDA_ERROR_INVALID_CONTEXT),
    STANDIN_CODE(CUDA_ERROR_NO_BINARY_FOR_GPU),
    STANDIN_CODE(CUDA_ERROR_ECC_UNCORRECTABLE),
    STANDIN_CODE(CUDA_ERROR_INVALID_PTX),
    STANDIN_CODE(CUDA_ERROR_UNSUPPORTED_PTX_VERSION),
    STANDIN_CODE(CUDA_ERROR_INVALID_HANDLE),
    STANDIN_CODE(CUDA_ERROR_NOT_FOUND),
    STANDIN_CODE(CUDA_ERROR_NOT_READY),
    STANDIN_CODE(CUDA_ERROR_ILLEGAL_ADDRESS),
    STANDIN_CODE(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES),
    STANDIN_CODE(CUDA_ERROR_LAUNCH_TIMEOUT),
    STANDIN_CODE(CUDA_ERROR_CONTEXT_IS_DESTROYED),
    STANDIN_CODE(CUDA_ERROR_LAUNCH_FAILED),
    STANDIN_CODE(CUDA_ERROR_NOT_PERMITTED),
    STANDIN_CODE(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH),
    STANDIN_CODE(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED),
    STANDIN_CODE(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED),
    STANDIN_CODE(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD),
    STANDIN_CODE(CUDA_ERROR_UNKNOWN),
#undef STANDIN_CODE
};

struct Fault {
  std::string function;
  int at;
  bool andLater;
  CUresult code;
  int seen = 0;
};

// "cuMemAlloc:2=CUDA_ERROR_OUT_OF_MEMORY,kernel:1+=CUDA_ERROR_LAUNCH_FAILED"
std::vector<Fault> parseFaults(const std::string& text) {
  std::vector<Fault> faults;
  for (size_t from = 0; from < text.size();) {
    const size_t end = std::min(text.find(',', from), text.size());
    const std::string item = text.substr(from, end - from);
    from = end + 1;
    const size_t colon = item.find(':'), equals = item.find('=');
    Fault fault{};
    if (colon != std::string::npos && equals != std::string::npos && colon < equals) {
      fault.function = item.substr(0, colon);
      fault.at = std::atoi(item.substr(colon + 1).c_str());
      fault.andLater = item[equals - 1] == '+';
      for (const auto& [code, name] : kCodes)
        if (item.substr(equals + 1) == name) fault.code = code;
    }
    if (fault.at < 1 || fault.code == CUDA_SUCCESS) {
      std::fprintf(stderr, "libcuda stand-in: CLIP_STANDIN_FAIL has %s\n", item.c_str());
      std::abort();  // a test that requests a fault must not pass without it
    }
    faults.push_back(fault);
  }
  return faults;
}

// Lists what still exists when the process ends. That is not a fault: a process may end without dispose.
__attribute__((destructor)) void atExit() {
  for (const auto& context : machine.contexts)
    if (context->retained) log("exit with the context of device " + std::to_string(context->device));
}

}  // namespace

void report(const std::string& message) { append("CLIP_STANDIN_REPORT", message, true); }
void log(const std::string& line) { append("CLIP_STANDIN_LOG", line, false); }

CUresult injected(const std::string& function) {
  static std::string known;
  static std::vector<Fault> faults;
  const char* text = std::getenv("CLIP_STANDIN_FAIL");
  if (known != (text ? text : "")) faults = parseFaults(known = text ? text : "");
  CUresult code = CUDA_SUCCESS;
  for (Fault& fault : faults)
    if (fault.function == function && (++fault.seen == fault.at || (fault.andLater && fault.seen > fault.at)))
      code = fault.code;
  return code;
}

Call::Call(const char* function, unsigned needs) : lock_(mutex) {
  log(function);
  if (!machine.initialised) {
    refused = CUDA_ERROR_NOT_INITIALIZED;
  } else if (const CUresult r = injected(function); r != CUDA_SUCCESS) {
    refused = r;
  } else if (needs & kContext) {
    if (!current || !current->retained)
      refused = CUDA_ERROR_INVALID_CONTEXT;
    else if ((needs & kNotCapturing) && capturing(current)) {
      report(std::string(function) + ": not while this thread captures a stream");
      invalidateCaptures(current);
      refused = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    } else if (current->lost != CUDA_SUCCESS) {
      refused = current->lost;
    }
  }
}

STANDIN cuGetErrorName(CUresult code, const char** out) {
  for (const auto& [known, name] : kCodes)
    if (known == code) {
      *out = name;
      return CUDA_SUCCESS;
    }
  *out = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}

STANDIN cuGetErrorString(CUresult code, const char** out) {
  if (const CUresult r = cuGetErrorName(code, out); r != CUDA_SUCCESS) return r;
  *out = code == CUDA_ERROR_OUT_OF_MEMORY   ? "out of memory"
         : code == CUDA_ERROR_NO_DEVICE     ? "no CUDA-capable device is detected"
         : code == CUDA_ERROR_LAUNCH_FAILED ? "unspecified launch failure"
                                            : "as the stand-in was told or found";
  return CUDA_SUCCESS;
}

}  // namespace standin
