// Allocation and copies.
#include <cstring>

#include "standin.h"

namespace standin {

namespace {

void* pointer(CUdeviceptr at) { return reinterpret_cast<void*>(static_cast<uintptr_t>(at)); }

// Whether these bytes are in memory of the device.
bool onThisDevice(CUdeviceptr at, size_t bytes, const char* function) {
  const bool fine = bytes == 0 || inPiece(static_cast<uintptr_t>(at), bytes, false);
  if (!fine)
    report(std::string(function) + ": " + std::to_string(bytes) + " bytes that are not in allocated memory");
  return fine;
}

bool isPinned(const void* at, size_t bytes) { return inPiece(reinterpret_cast<uintptr_t>(at), bytes, true); }

bool usableStream(CUstream s, const char* function) { return !s || usable(s, function, "stream"); }

// Queues an operation that accesses [at, at + bytes) of device memory, which must still exist when it runs.
CUresult queue(CUstream s, const char* function, CUdeviceptr at, size_t bytes, std::function<void()> copy) {
  return enqueue(s, [=] {
    if (!onThisDevice(at, bytes, function)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    return onDevice(function, [&] {
      copy();
      return CUDA_SUCCESS;
    });
  });
}

CUresult set(CUstream s, const char* function, CUdeviceptr at, size_t width, unsigned value, size_t count) {
  if (!usableStream(s, function)) return CUDA_ERROR_INVALID_HANDLE;
  if (at % width || !onThisDevice(at, width * count, function)) return CUDA_ERROR_INVALID_VALUE;
  return queue(s, function, at, width * count, [=] {
    for (size_t i = 0; i < count; i++)
      std::memcpy(static_cast<char*>(pointer(at)) + i * width, &value, width);
  });
}

}  // namespace

STANDIN cuMemAlloc_v2(CUdeviceptr* out, size_t bytes) {
  STANDIN_CALL(cuMemAlloc, kContext | kNotCapturing);
  if (const CUresult r = injected("allocation"); r != CUDA_SUCCESS) return r;
  uintptr_t at = 0;
  const CUresult r = allocate(&at, bytes, false);
  if (r == CUDA_SUCCESS) *out = at;
  return r;
}

// As the manual allows, this does not wait for queued operations, which then find that the memory is gone.
STANDIN cuMemFree_v2(CUdeviceptr at) {
  STANDIN_CALL(cuMemFree, kContext | kNotCapturing);
  return at ? release(static_cast<uintptr_t>(at), false) : CUDA_SUCCESS;
}

STANDIN cuMemHostAlloc(void** out, size_t bytes, unsigned flags) {
  STANDIN_CALL(cuMemHostAlloc, kContext | kNotCapturing);
  if (flags > 7) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult r = injected("allocation"); r != CUDA_SUCCESS) return r;
  uintptr_t at = 0;
  const CUresult r = allocate(&at, bytes, true);
  if (r == CUDA_SUCCESS) *out = reinterpret_cast<void*>(at);
  return r;
}

STANDIN cuMemFreeHost(void* at) {
  STANDIN_CALL(cuMemFreeHost, kContext | kNotCapturing);
  return release(reinterpret_cast<uintptr_t>(at), true);
}

STANDIN cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
  STANDIN_CALL(cuMemcpyHtoD, kContext | kNotCapturing);
  if (!onThisDevice(to, bytes, "cuMemcpyHtoD")) return CUDA_ERROR_INVALID_VALUE;
  const CUresult r =
      queue(nullptr, "cuMemcpyHtoD", to, bytes, [=] { std::memcpy(pointer(to), from, bytes); });
  return r == CUDA_SUCCESS ? current->lost : r;
}

STANDIN cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
  STANDIN_CALL(cuMemcpyDtoH, kContext | kNotCapturing);
  if (!onThisDevice(from, bytes, "cuMemcpyDtoH")) return CUDA_ERROR_INVALID_VALUE;
  const CUresult r =
      queue(nullptr, "cuMemcpyDtoH", from, bytes, [=] { std::memcpy(to, pointer(from), bytes); });
  return r == CUDA_SUCCESS ? current->lost : r;
}

STANDIN cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream s) {
  STANDIN_CALL(cuMemcpyHtoDAsync, kContext);
  if (!usableStream(s, "cuMemcpyHtoDAsync")) return CUDA_ERROR_INVALID_HANDLE;
  if (!onThisDevice(to, bytes, "cuMemcpyHtoDAsync")) return CUDA_ERROR_INVALID_VALUE;
  // Pinned memory is read when the operation runs; other memory is read now, except in a graph.
  if (isPinned(from, bytes) || (s && s->capture))
    return queue(s, "cuMemcpyHtoDAsync", to, bytes, [=] { std::memcpy(pointer(to), from, bytes); });
  const auto copy = std::make_shared<std::string>(static_cast<const char*>(from), bytes);
  return queue(s, "cuMemcpyHtoDAsync", to, bytes, [=] { std::memcpy(pointer(to), copy->data(), bytes); });
}

STANDIN cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream s) {
  STANDIN_CALL(cuMemcpyDtoHAsync, kContext);
  if (!usableStream(s, "cuMemcpyDtoHAsync")) return CUDA_ERROR_INVALID_HANDLE;
  if (!onThisDevice(from, bytes, "cuMemcpyDtoHAsync")) return CUDA_ERROR_INVALID_VALUE;
  const bool waits = !isPinned(to, bytes) && !(s && s->capture);
  const CUresult r =
      queue(s, "cuMemcpyDtoHAsync", from, bytes, [=] { std::memcpy(to, pointer(from), bytes); });
  return r == CUDA_SUCCESS && waits && s ? drain(s) : r;
}

STANDIN cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream s) {
  STANDIN_CALL(cuMemcpyDtoDAsync, kContext);
  if (!usableStream(s, "cuMemcpyDtoDAsync")) return CUDA_ERROR_INVALID_HANDLE;
  if (!onThisDevice(from, bytes, "cuMemcpyDtoDAsync") || !onThisDevice(to, bytes, "cuMemcpyDtoDAsync"))
    return CUDA_ERROR_INVALID_VALUE;
  return queue(s, "cuMemcpyDtoDAsync", to, bytes, [=] { std::memmove(pointer(to), pointer(from), bytes); });
}

STANDIN cuMemsetD8Async(CUdeviceptr at, unsigned char value, size_t count, CUstream s) {
  STANDIN_CALL(cuMemsetD8Async, kContext);
  return set(s, "cuMemsetD8Async", at, 1, value, count);
}

STANDIN cuMemsetD32Async(CUdeviceptr at, unsigned value, size_t count, CUstream s) {
  STANDIN_CALL(cuMemsetD32Async, kContext);
  return set(s, "cuMemsetD32Async", at, 4, value, count);
}

}  // namespace standin
