#pragma once
// A libcuda.so.1 for tests that needs no GPU: the functions of native/cuda/driver_types.h, with kernels run
// by the fiber emulator. CLIP_NATIVE_LIBCUDA=path makes the addon open it. test/cuda/CMakeLists.txt builds
// it.
//
// It behaves like the least helpful driver that the manual allows:
//  * an operation on a stream runs only when something waits for it, and each stream runs on its own: after a
//    missing wait or event, data is always missing;
//  * device memory cannot be accessed by the host (which crashes with a message); new memory is NaN; every
//    piece ends at the end of its own pages, whose neighbours and remaining bytes are watched; freed pages
//    are never used again. So a kernel that accesses memory outside its pieces ends with
//    CUDA_ERROR_ILLEGAL_ADDRESS;
//  * handles are checked: destroyed ones, those of another context, captures by the wrong thread;
//  * a context that is released while anything is left in it reports each leak.
//
// Environment variables, read at each call, so that one process can test many faults:
//   CLIP_STANDIN_REPORT=file     misuse and leaks are appended to it, one per line; without it to stderr
//   CLIP_STANDIN_LOG=file        every call is appended to it, one name per line, and "kernel NAME" for each
//                                kernel that runs
//   CLIP_STANDIN_FAIL=list       faults, separated by commas: FUNCTION:N=CODE lets the Nth call from now on of
//                                FUNCTION return CODE (CUDA_ERROR_...), FUNCTION:N+=CODE also all later ones.
//                                FUNCTION may also be `allocation` (cuMemAlloc and cuMemHostAlloc counted
//                                together) and `kernel`: the Nth kernel that runs fails, which is reported
//                                to whoever waits for it, and the context is lost. Counting restarts whenever
//                                the text of the variable changes: to fail every allocation in turn, set
//                                allocation:1=..., then allocation:2=..., and so on, until nothing fails.
//   CLIP_STANDIN_SKIP=kernel     this kernel does nothing, to simulate one with wrong results
// Environment variables, read at cuInit while no context is retained:
//   CLIP_STANDIN_DEVICES=list    compute capabilities times 10, "90" if not set: "75,80"; "none": no device
//   CLIP_STANDIN_DRIVER=version  of the driver, 13000 if not set; below 13000 machine code is rejected, and PTX
//                                is compiled if its version is not newer
//   CLIP_STANDIN_MEMORY=bytes    of each device
//   CLIP_STANDIN_PTX=1           machine code is rejected, and the PTX of cuda/images runs in the
//                                interpreter, which detects every access outside of device and pinned
//                                memory, including accesses to the host's own memory
//   CLIP_STANDIN_EAGER=1         queued operations run at once, like on the most helpful driver
//   CLIP_STANDIN_UNCHECKED=1     shared memory is not checked for races: faster
#include <csetjmp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../ptx.h"
#include "../registry.h"
#include "cuda/driver_types.h"

namespace clip::cuda {

// One operation of a device. Returns its error, or success.
using Operation = std::function<CUresult()>;

struct Handle {
  CUctx_st* context = nullptr;
  bool alive = true;
};

// A point in a stream, and whether it was reached.
struct Mark {
  CUstream_st* stream;
  bool reached = false;
  double milliseconds = 0;
};

struct GraphBody {
  std::vector<Operation> operations;
};

struct CUstream_st : Handle {
  bool blocking = false;  // the null stream waits for it, and it waits for the null stream
  std::deque<Operation> queue;
  std::shared_ptr<GraphBody> capture;
  bool captureInvalid = false;
  std::thread::id captureThread;
};
struct CUevent_st : Handle {
  bool timing = true;
  std::shared_ptr<Mark> mark;
};
struct CUgraph_st : Handle {
  std::shared_ptr<GraphBody> body;
};
struct CUgraphExec_st : Handle {
  std::shared_ptr<GraphBody> body;
};
struct CUfunc_st : Handle {
  std::string name;
  const emulator::Kernel* kernel = nullptr;
  CUmodule module = nullptr;
  int architecture = 0, mostShared = 48 << 10;
};
struct CUmod_st : Handle {
  int architecture = 0;
  std::string code;  // in which kernels are looked up
  std::map<std::string, CUfunc_st> functions;
  std::shared_ptr<emulator::ptx::Module> ptx;  // CLIP_STANDIN_PTX
};
struct CUctx_st {
  int device = 0;
  int retained = 0;
  CUresult lost = CUDA_SUCCESS;
  std::set<CUstream_st*> streams;
};

}  // namespace clip::cuda

namespace standin {
using namespace clip::cuda;

// One call at a time; kernels run within a call.
extern std::recursive_mutex& mutex;
extern thread_local CUcontext current;

struct Machine {
  bool initialised = false, eager = false, ptx = false;
  int version = 13000;
  size_t memory = size_t{80} << 30;
  std::vector<int> capabilities;
  std::vector<std::unique_ptr<CUctx_st>> contexts;  // one per device
};
extern Machine& machine;

// Reports an error of the caller.
void report(const std::string& message);
void log(const std::string& line);
// The error that CLIP_STANDIN_FAIL requests for this call, if any.
CUresult injected(const std::string& function);

// memory.cc
struct Piece {
  size_t bytes;
  bool pinned;
  CUcontext context;  // it is freed with the context
};
extern std::map<uintptr_t, Piece>& pieces;
CUresult allocate(uintptr_t* at, size_t bytes, bool pinned);
CUresult release(uintptr_t at, bool pinned);
bool inPiece(uintptr_t at, size_t bytes, bool pinned);
size_t usedBytes(CUcontext);
// Runs the operation with device memory accessible; an access outside it is CUDA_ERROR_ILLEGAL_ADDRESS.
CUresult onDevice(const char* what, const Operation&);
void checkSlack(const char* after);
// Device memory stays accessible while a queue runs, because making it accessible for each kernel takes as
// long as the kernel.
class WithinReach {
 public:
  WithinReach();
  ~WithinReach();
  WithinReach(const WithinReach&) = delete;
};

// streams.cc
// Queues the operation, records it if the stream is being captured, or runs it at once on the null stream.
CUresult enqueue(CUstream, Operation);
// Runs what is queued up to `mark`, or everything.
CUresult drain(CUstream, const Mark* mark = nullptr);
CUresult drainBlocking(CUcontext);  // runs everything that the null stream waits for
bool capturing(CUcontext);          // by this thread
void invalidateCaptures(CUcontext);

// Every object ever created is kept, so that a destroyed handle is recognised.
template <class T>
std::map<const T*, std::unique_ptr<T>>& all() {
  static auto* objects = new std::map<const T*, std::unique_ptr<T>>;
  return *objects;
}
template <class T>
T* make() {
  auto object = std::make_unique<T>();
  object->context = current;
  T* handle = object.get();
  all<T>()[handle] = std::move(object);
  return handle;
}
// Whether a handle may be used now; if not, that is reported.
template <class T>
bool usable(const T* handle, const char* function, const char* kind) {
  const char* what = !all<T>().count(handle)      ? "does not exist"
                     : !handle->alive             ? "was destroyed"
                     : handle->context != current ? "belongs to another context"
                                                  : nullptr;
  if (what) report(std::string(function) + ": this " + kind + " " + what);
  return !what;
}

// images.cc
CUresult loadImage(CUmod_st*, const void* image, std::string* why);
CUfunction findFunction(CUmodule, const std::string& name);

// The checks that every function makes first.
enum Needs : unsigned { kNothing = 0, kContext = 1, kNotCapturing = 2 };
class Call {
 public:
  Call(const char* function, unsigned needs);
  CUresult refused = CUDA_SUCCESS;

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};

}  // namespace standin

#define STANDIN extern "C" __attribute__((visibility("default"))) CUresult
#define STANDIN_CALL(function, needs) \
  const Call call(#function, needs);  \
  if (call.refused != CUDA_SUCCESS) return call.refused

namespace standin {
#define STANDIN_DECLARATION(name, symbol, ...) STANDIN symbol(__VA_ARGS__);
CLIP_CUDA_FUNCTIONS(STANDIN_DECLARATION)
#undef STANDIN_DECLARATION
}  // namespace standin
