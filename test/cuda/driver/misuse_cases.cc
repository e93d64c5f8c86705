// Every planted misuse is reported by the stand-in.
#include <thread>

#include "cases.h"
#include "linear.h"
#include "support.h"

namespace {

using namespace support;

// Checks one misuse: its result, what is reported, and that the context can still be released.
void misuse(const std::string& name, const std::string& words,
            const std::function<void(const Driver&, Rows&)>& body) {
  cases::add("standin", name, [=] {
    const Environment environment;
    {
      Rows rows;
      body(driver(), rows);
    }
    return environment.reported(words);
  });
}

void leak(const std::string& name, const std::string& words, const std::function<void(const Driver&)>& body) {
  cases::add("standin", name, [=] {
    const Environment environment;
    {
      const auto module = Module::of(0);
      body(driver());
    }
    return environment.reported(words);
  });
}

void illegalAccesses() {
  misuse("memory freed before a kernel ran", "memory that is not allocated was touched, by clip_cast",
         [](const Driver& cu, Rows& rows) {
           rows.cast(rows.stream);
           cu.cuMemFree(std::exchange(rows.to, 0));
           checkCode(cu.cuStreamSynchronize.result(rows.stream), CUDA_ERROR_ILLEGAL_ADDRESS, "the wait");
           checkCode(cu.cuStreamSynchronize.result(rows.stream), CUDA_ERROR_ILLEGAL_ADDRESS, "the next call");
           check(isLost(errorOf([&] { cu.cuMemAlloc(&rows.to, 64); })), "the context is lost");
           rows.to = 0;
         });
  misuse("a kernel far beyond the end", "memory that is not allocated was touched",
         [](const Driver& cu, Rows& rows) {
           rows.cast(rows.stream, 1000);
           checkCode(cu.cuStreamSynchronize.result(rows.stream), CUDA_ERROR_ILLEGAL_ADDRESS, "the wait");
         });
}

void misuses() {
  misuse("memory freed twice", "cuMemFree: not the address", [](const Driver& cu, Rows& rows) {
    cu.cuMemFree(rows.from);
    checkCode(cu.cuMemFree.result(std::exchange(rows.from, 0)), CUDA_ERROR_INVALID_VALUE, "again");
  });
  misuse("an address inside of memory freed", "cuMemFree: not the address", [](const Driver& cu, Rows& rows) {
    checkCode(cu.cuMemFree.result(rows.from + 256), CUDA_ERROR_INVALID_VALUE, "inside");
  });
  misuse("pinned memory freed as device memory", "cuMemFree: not the address",
         [](const Driver& cu, Rows& rows) {
           checkCode(cu.cuMemFree.result(reinterpret_cast<CUdeviceptr>(rows.in)), CUDA_ERROR_INVALID_VALUE,
                     "pinned");
         });
  misuse("a copy beyond the end", "bytes that are not in allocated memory", [](const Driver& cu, Rows& rows) {
    checkCode(cu.cuMemcpyHtoDAsync.result(rows.from + 4, rows.in, Rows::kBytes, rows.stream),
              CUDA_ERROR_INVALID_VALUE, "beyond");
  });
  misuse("memory freed before a copy to it ran", "bytes that are not in allocated memory",
         [](const Driver& cu, Rows& rows) {
           cu.cuMemcpyHtoDAsync(rows.from, rows.in, Rows::kBytes, rows.stream);
           cu.cuMemFree(std::exchange(rows.from, 0));
           checkCode(cu.cuStreamSynchronize.result(rows.stream), CUDA_ERROR_ILLEGAL_ADDRESS, "the wait");
         });
  misuse("a kernel just before the beginning", "bytes outside 768 bytes of memory were written, by clip_cast",
         [](const Driver& cu, Rows& rows) {
           cu.cuMemsetD8Async(rows.from, 0, Rows::kBytes, rows.stream);
           rows.to -= 16;
           rows.cast(rows.stream);
           rows.to += 16;
           cu.cuStreamSynchronize(rows.stream);
         });
  misuse("a stream used after it was destroyed", "cuMemsetD8Async: this stream was destroyed",
         [](const Driver& cu, Rows& rows) {
           cu.cuStreamDestroy(rows.stream);
           checkCode(cu.cuMemsetD8Async.result(rows.from, 0, 1, std::exchange(rows.stream, nullptr)),
                     CUDA_ERROR_INVALID_HANDLE, "used");
         });
  misuse("an event destroyed twice", "cuEventDestroy: this event was destroyed", [](const Driver& cu, Rows&) {
    CUevent event = nullptr;
    cu.cuEventCreate(&event, 0);
    cu.cuEventDestroy(event);
    checkCode(cu.cuEventDestroy.result(event), CUDA_ERROR_INVALID_HANDLE, "again");
  });
  misuse("a stream in place of an event", "this event does not exist", [](const Driver& cu, Rows& rows) {
    checkCode(cu.cuEventRecord.result(reinterpret_cast<CUevent>(rows.stream), rows.stream),
              CUDA_ERROR_INVALID_HANDLE, "a stream");
  });
  misuse("a graph run after it was destroyed", "this executable graph was destroyed",
         [](const Driver& cu, Rows& rows) {
           CUgraph graph = nullptr;
           CUgraphExec run = nullptr;
           cu.cuStreamBeginCapture(rows.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
           cu.cuStreamEndCapture(rows.stream, &graph);
           cu.cuGraphInstantiate(&run, graph, 0);
           cu.cuGraphDestroy(graph);
           cu.cuGraphExecDestroy(run);
           checkCode(cu.cuGraphLaunch.result(run, rows.stream), CUDA_ERROR_INVALID_HANDLE, "run");
         });
  misuse("waiting while capturing", "cuStreamSynchronize: not while this thread captures",
         [](const Driver& cu, Rows& rows) {
           CUgraph graph = nullptr;
           cu.cuStreamBeginCapture(rows.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
           checkCode(cu.cuStreamSynchronize.result(rows.stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                     "the wait");
           checkCode(cu.cuStreamEndCapture.result(rows.stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
                     "end");
         });
  misuse("allocating while capturing", "cuMemAlloc: not while this thread captures",
         [](const Driver& cu, Rows& rows) {
           CUgraph graph = nullptr;
           CUdeviceptr at = 0;
           cu.cuStreamBeginCapture(rows.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
           checkCode(cu.cuMemAlloc.result(&at, 64), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the allocation");
           // Another thread is not affected.
           std::thread([&] {
             rows.module->makeCurrent();
             cu.cuMemAlloc(&at, 64);
             cu.cuMemFree(at);
             checkCode(cu.cuStreamEndCapture.result(rows.stream, &graph),
                       CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "there");
           }).join();
           cu.cuStreamEndCapture.result(rows.stream, &graph);
         });
  misuse("too little shared memory", "clip_linear_bfloat16_square, line", [](const Driver& cu, Rows& rows) {
    CUdeviceptr large = 0;
    cu.cuMemAlloc(&large, 1 << 16);
    const clip::MatrixView matrix{
        .data = reinterpret_cast<void*>(large), .stride = 256, .dtype = clip::Dtype::bfloat16};
    const clip::Linear l{.x = matrix,
                         .w = matrix.data,
                         .bias = nullptr,
                         .residual = {},
                         .y = matrix,
                         .rows = 1,
                         .in = 16,
                         .out = 8,
                         .activation = clip::Activation::none,
                         .weights = clip::Dtype::float32};
    Launch launch = linearSquareLaunch(l);
    launch.shared /= 2;
    rows.module->launch(launch, rows.stream, {&l});
    checkCode(cu.cuStreamSynchronize.result(rows.stream), CUDA_ERROR_LAUNCH_FAILED, "the wait");
  });
  misuse("more shared memory than there is", "bytes of shared memory, it may have",
         [](const Driver&, Rows& rows) {
           const clip::Cast c{};
           const clip::Error e = errorOf([&] {
             rows.module->launch({"clip_cast", 1, 1, 1, 128, 1 << 20}, rows.stream, {&c});
           });
           check(e.code == "ERR_CLIP_CUDA" && e.field == "cuLaunchKernel" &&
                     e.actual == "CUDA_ERROR_INVALID_VALUE" &&
                     e.message.find("for clip_cast (1 x 1 x 1 blocks of 128 threads, 1048576 bytes") !=
                         std::string::npos,
                 e.message);
         });
  misuse("more threads than a kernel was compiled for", "with 256 threads, it was compiled for 128",
         [](const Driver&, Rows& rows) {
           const clip::Cast c{};
           errorOf([&] { rows.module->launch({"clip_cast", 1, 1, 1, 256, 0}, rows.stream, {&c}); });
         });
  misuse("no blocks", "impossible blocks", [](const Driver&, Rows& rows) {
    const clip::Cast c{};
    errorOf([&] { rows.module->launch({"clip_cast", 0, 1, 1, 128, 0}, rows.stream, {&c}); });
  });
}

void leaks() {
  leak("memory left in a context", "leak: 2 pieces of memory", [](const Driver& cu) {
    CUdeviceptr at = 0;
    cu.cuMemAlloc(&at, 1);
    cu.cuMemAlloc(&at, 10000);
  });
  leak("pinned memory left", "leak: 1 pieces of pinned memory", [](const Driver& cu) {
    static void* at = nullptr;
    cu.cuMemHostAlloc(&at, 100, 0);
  });
  leak("a stream left in a context", "leak: 1 streams", [](const Driver& cu) {
    CUstream stream = nullptr;
    cu.cuStreamCreate(&stream, 0);
  });
  leak("an event left in a context", "leak: 1 events", [](const Driver& cu) {
    CUevent event = nullptr;
    cu.cuEventCreate(&event, 0);
  });
  leak("graphs left in a context", "leak: 1 graphs", [](const Driver& cu) {
    CUstream stream = nullptr;
    CUgraph graph = nullptr;
    cu.cuStreamCreate(&stream, 0);
    cu.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    cu.cuStreamEndCapture(stream, &graph);
    cu.cuStreamDestroy(stream);
  });
}

const cases::Registration registration([] {
  misuses();
  if (kRescues) illegalAccesses();
  leaks();
});

}  // namespace
