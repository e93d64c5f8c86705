#pragma once
// The part of NVIDIA's driver interface that we use, in our own declarations, so that no CUDA header is
// needed to build. The names and numbers are NVIDIA's and never change; test/cuda/driver/types_match.cc
// compares them with cuda.h if that is installed.
#include <cstddef>
#include <cstdint>

namespace clip::cuda {

using CUdevice = int;
using CUdeviceptr = unsigned long long;  // an address on the device; kernels take it as a pointer
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;
using CUgraphNode = struct CUgraphNode_st*;

enum CUresult : unsigned {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_DEINITIALIZED = 4,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_ECC_UNCORRECTABLE = 214,
  CUDA_ERROR_INVALID_PTX = 218,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_INVALID_HANDLE = 400,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
  CUDA_ERROR_LAUNCH_TIMEOUT = 702,
  CUDA_ERROR_CONTEXT_IS_DESTROYED = 709,
  CUDA_ERROR_ASSERT = 710,
  CUDA_ERROR_HARDWARE_STACK_ERROR = 714,
  CUDA_ERROR_ILLEGAL_INSTRUCTION = 715,
  CUDA_ERROR_MISALIGNED_ADDRESS = 716,
  CUDA_ERROR_INVALID_ADDRESS_SPACE = 717,
  CUDA_ERROR_INVALID_PC = 718,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_NOT_PERMITTED = 800,
  CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
  CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
  CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
  CUDA_ERROR_STREAM_CAPTURE_UNJOINED = 904,
  CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD = 908,
  CUDA_ERROR_UNKNOWN = 999,
};

enum CUdevice_attribute : unsigned {
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_COMPUTE_MODE = 20,  // 2: the device may not be used
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
};

enum CUfunction_attribute : unsigned {
  CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 0,
  CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1,  // static
  CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3,
  CU_FUNC_ATTRIBUTE_NUM_REGS = 4,
  CU_FUNC_ATTRIBUTE_BINARY_VERSION = 6,  // 90: machine code for, or PTX compiled for, 9.0
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
};

enum CUjit_option : unsigned {
  CU_JIT_ERROR_LOG_BUFFER = 5,
  CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6,
};

enum CUstreamCaptureMode : unsigned { CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1 };
enum CUstreamCaptureStatus : unsigned {
  CU_STREAM_CAPTURE_STATUS_NONE = 0,
  CU_STREAM_CAPTURE_STATUS_ACTIVE = 1,
  CU_STREAM_CAPTURE_STATUS_INVALIDATED = 2,
};

enum CUstream_flags : unsigned { CU_STREAM_NON_BLOCKING = 1 };
enum CUevent_flags : unsigned {
  CU_EVENT_DEFAULT = 0,
  CU_EVENT_BLOCKING_SYNC = 1,  // a waiting thread sleeps instead of spinning
  CU_EVENT_DISABLE_TIMING = 2,
};
constexpr unsigned CU_MEMHOSTALLOC_PORTABLE = 1;  // pinned in every context

}  // namespace clip::cuda

// Every function of the driver that we call: its name, the symbol that has this signature, and its arguments.
// All of them exist in drivers since 470 (CUDA 11.4), which is older than any driver that can run our PTX.
#define CLIP_CUDA_FUNCTIONS(X)                                                                              \
  X(cuGetErrorName, cuGetErrorName, CUresult, const char**)                                                 \
  X(cuGetErrorString, cuGetErrorString, CUresult, const char**)                                             \
  X(cuInit, cuInit, unsigned)                                                                               \
  X(cuDriverGetVersion, cuDriverGetVersion, int*)                                                           \
  X(cuDeviceGetCount, cuDeviceGetCount, int*)                                                               \
  X(cuDeviceGet, cuDeviceGet, CUdevice*, int)                                                               \
  X(cuDeviceGetName, cuDeviceGetName, char*, int, CUdevice)                                                 \
  X(cuDeviceGetAttribute, cuDeviceGetAttribute, int*, CUdevice_attribute, CUdevice)                         \
  X(cuDeviceTotalMem, cuDeviceTotalMem_v2, size_t*, CUdevice)                                               \
  X(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, CUcontext*, CUdevice)                               \
  X(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, CUdevice)                                      \
  X(cuCtxSetCurrent, cuCtxSetCurrent, CUcontext)                                                            \
  X(cuCtxGetCurrent, cuCtxGetCurrent, CUcontext*)                                                           \
  X(cuModuleLoadDataEx, cuModuleLoadDataEx, CUmodule*, const void*, unsigned, CUjit_option*, void**)        \
  X(cuModuleUnload, cuModuleUnload, CUmodule)                                                               \
  X(cuModuleGetFunction, cuModuleGetFunction, CUfunction*, CUmodule, const char*)                           \
  X(cuFuncSetAttribute, cuFuncSetAttribute, CUfunction, CUfunction_attribute, int)                          \
  X(cuFuncGetAttribute, cuFuncGetAttribute, int*, CUfunction_attribute, CUfunction)                         \
  X(cuMemGetInfo, cuMemGetInfo_v2, size_t*, size_t*)                                                        \
  X(cuMemAlloc, cuMemAlloc_v2, CUdeviceptr*, size_t)                                                        \
  X(cuMemFree, cuMemFree_v2, CUdeviceptr)                                                                   \
  X(cuMemHostAlloc, cuMemHostAlloc, void**, size_t, unsigned)                                               \
  X(cuMemFreeHost, cuMemFreeHost, void*)                                                                    \
  X(cuMemcpyHtoD, cuMemcpyHtoD_v2, CUdeviceptr, const void*, size_t)                                        \
  X(cuMemcpyDtoH, cuMemcpyDtoH_v2, void*, CUdeviceptr, size_t)                                              \
  X(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, CUdeviceptr, const void*, size_t, CUstream)                    \
  X(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, void*, CUdeviceptr, size_t, CUstream)                          \
  X(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2, CUdeviceptr, CUdeviceptr, size_t, CUstream)                    \
  X(cuMemsetD8Async, cuMemsetD8Async, CUdeviceptr, unsigned char, size_t, CUstream)                         \
  X(cuMemsetD32Async, cuMemsetD32Async, CUdeviceptr, unsigned, size_t, CUstream)                            \
  X(cuStreamCreate, cuStreamCreate, CUstream*, unsigned)                                                    \
  X(cuStreamDestroy, cuStreamDestroy_v2, CUstream)                                                          \
  X(cuStreamSynchronize, cuStreamSynchronize, CUstream)                                                     \
  X(cuStreamQuery, cuStreamQuery, CUstream)                                                                 \
  X(cuStreamWaitEvent, cuStreamWaitEvent, CUstream, CUevent, unsigned)                                      \
  X(cuEventCreate, cuEventCreate, CUevent*, unsigned)                                                       \
  X(cuEventDestroy, cuEventDestroy_v2, CUevent)                                                             \
  X(cuEventRecord, cuEventRecord, CUevent, CUstream)                                                        \
  X(cuEventQuery, cuEventQuery, CUevent)                                                                    \
  X(cuEventSynchronize, cuEventSynchronize, CUevent)                                                        \
  X(cuEventElapsedTime, cuEventElapsedTime, float*, CUevent, CUevent)                                       \
  X(cuLaunchKernel, cuLaunchKernel, CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, \
    unsigned, CUstream, void**, void**)                                                                     \
  X(cuStreamBeginCapture, cuStreamBeginCapture_v2, CUstream, CUstreamCaptureMode)                           \
  X(cuStreamEndCapture, cuStreamEndCapture, CUstream, CUgraph*)                                             \
  X(cuStreamIsCapturing, cuStreamIsCapturing, CUstream, CUstreamCaptureStatus*)                             \
  X(cuGraphGetNodes, cuGraphGetNodes, CUgraph, CUgraphNode*, size_t*)                                       \
  X(cuGraphInstantiate, cuGraphInstantiateWithFlags, CUgraphExec*, CUgraph, unsigned long long)             \
  X(cuGraphLaunch, cuGraphLaunch, CUgraphExec, CUstream)                                                    \
  X(cuGraphExecDestroy, cuGraphExecDestroy, CUgraphExec)                                                    \
  X(cuGraphDestroy, cuGraphDestroy, CUgraph)
