// The stand-in itself: a right program is silent, and each planted misuse is told.
#include <cmath>
#include <csignal>
#include <thread>

#include "cases.h"
#include "linear.h"
#include "support.h"

namespace {

using namespace support;

// Runs a case's body and wants silence, or one report that has these words.
std::string silent(const Environment& environment) {
  const std::string report = environment.report();
  return report.empty() ? "" : "reported: " + report;
}
std::string reported(const Environment& environment, const std::string& words) {
  const std::string report = environment.report();
  return report.find(words) != std::string::npos ? "" : "not reported: " + words + "; but: " + report;
}

std::string copiesAndKernels() {
  const Environment environment;
  {
    const Driver& cu = driver();
    Rows rows;
    CUevent before = nullptr, after = nullptr;
    cu.cuEventCreate(&before, CU_EVENT_DEFAULT);
    cu.cuEventCreate(&after, CU_EVENT_DEFAULT);
    rows.fill(7);
    cu.cuEventRecord(before, rows.stream);
    cu.cuMemcpyHtoDAsync(rows.from, rows.in, Rows::kBytes, rows.stream);
    rows.convert(rows.stream);
    cu.cuMemcpyDtoHAsync(rows.out, rows.to, Rows::kBytes, rows.stream);
    cu.cuEventRecord(after, rows.stream);
    checkCode(cu.cuEventQuery.result(after), CUDA_ERROR_NOT_READY, "at once");
    check(std::isnan(rows.out[0]), "nothing runs before somebody waits");
    cu.cuEventSynchronize(after);
    check(rows.isCopied(7), "the rows");
    float time = -1;
    cu.cuEventElapsedTime(&time, before, after);
    check(time >= 0, "the time");
    cu.cuMemsetD32Async(rows.to, 0x40000000, Rows::kBytes / 4, rows.stream);
    cu.cuMemcpyDtoDAsync(rows.from, rows.to, 64, rows.stream);
    cu.cuMemsetD8Async(rows.to, 0, 8, rows.stream);
    cu.cuMemcpyDtoHAsync(rows.out, rows.from, Rows::kBytes, rows.stream);
    while (cu.cuStreamQuery.result(rows.stream) == CUDA_ERROR_NOT_READY) {
    }
    check(rows.out[0] == 2 && rows.out[15] == 2 && rows.out[16] == 7 + 16, "set and copied on the device");
    float three[3] = {1, 2, 3}, back[3] = {};
    cu.cuMemcpyHtoD(rows.from, three, sizeof three);
    cu.cuMemcpyDtoH(back, rows.from, sizeof back);
    check(back[2] == 3, "without a stream");
    // Other memory than pinned is read when the copy is queued.
    cu.cuMemcpyHtoDAsync(rows.from, three, sizeof three, rows.stream);
    three[0] = 9;
    cu.cuMemcpyDtoHAsync(back, rows.from, sizeof back, rows.stream);
    check(back[0] == 1, "pageable memory");
    cu.cuEventDestroy(before);
    cu.cuEventDestroy(after);
  }
  check(environment.calls("cuModuleUnload") == 1, "the module is given back");
  check(environment.calls("cuDevicePrimaryCtxRelease") == 1, "the context is given back");
  return silent(environment);
}

std::string graphs() {
  const Environment environment;
  {
    const Driver& cu = driver();
    Rows rows;
    CUgraph graph = nullptr;
    CUgraphExec run = nullptr;
    cu.cuStreamBeginCapture(rows.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    cu.cuMemcpyHtoDAsync(rows.from, rows.in, Rows::kBytes, rows.stream);
    rows.convert(rows.stream);
    cu.cuMemcpyDtoHAsync(rows.out, rows.to, Rows::kBytes, rows.stream);
    cu.cuStreamEndCapture(rows.stream, &graph);
    size_t nodes = 0;
    cu.cuGraphGetNodes(graph, nullptr, &nodes);
    check(nodes == 3, "three nodes");
    cu.cuGraphInstantiate(&run, graph, 0);
    cu.cuGraphDestroy(graph);
    cu.cuStreamSynchronize(rows.stream);
    check(environment.calls("kernel clip_convert") == 0, "what is recorded does not run");
    for (const float first : {1.0f, 100.0f}) {
      rows.fill(first);
      cu.cuGraphLaunch(run, rows.stream);
      cu.cuStreamSynchronize(rows.stream);
      check(rows.isCopied(first), "a replay");
    }
    check(environment.calls("kernel clip_convert") == 2 && environment.calls("cuLaunchKernel") == 1, "calls");
    cu.cuGraphExecDestroy(run);
  }
  return silent(environment);
}

// What the second stream reads without waiting for the first is not there.
std::string twoStreams(bool waits) {
  const Environment environment;
  {
    const Driver& cu = driver();
    Rows rows;
    CUstream other = nullptr;
    CUevent event = nullptr;
    cu.cuStreamCreate(&other, CU_STREAM_NON_BLOCKING);
    cu.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING);
    rows.fill(3);
    cu.cuMemcpyHtoDAsync(rows.from, rows.in, Rows::kBytes, rows.stream);
    rows.convert(rows.stream);
    cu.cuEventRecord(event, rows.stream);
    if (waits) cu.cuStreamWaitEvent(other, event, 0);
    cu.cuMemcpyDtoHAsync(rows.out, rows.to, Rows::kBytes, other);
    cu.cuStreamSynchronize(other);
    check(rows.isCopied(3) == waits, waits ? "an event is waited for" : "a missing event is seen");
    cu.cuEventDestroy(event);
    cu.cuStreamDestroy(other);
  }
  return silent(environment);
}

// One misuse: what it returns, what is reported, and that the context can still be given back.
void misuse(const std::string& name, const std::string& words,
            const std::function<void(const Driver&, Rows&)>& body) {
  cases::add("standin", name, [=] {
    const Environment environment;
    {
      Rows rows;
      body(driver(), rows);
    }
    return reported(environment, words);
  });
}

void leak(const std::string& name, const std::string& words, const std::function<void(const Driver&)>& body) {
  cases::add("standin", name, [=] {
    const Environment environment;
    {
      const auto module = Module::of(0);
      body(driver());
    }
    return reported(environment, words);
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
  misuse("memory freed before a kernel ran", "memory that is not allocated was touched, by clip_convert",
         [](const Driver& cu, Rows& rows) {
           rows.convert(rows.stream);
           cu.cuMemFree(std::exchange(rows.to, 0));
           checkCode(cu.cuStreamSynchronize.result(rows.stream), CUDA_ERROR_ILLEGAL_ADDRESS, "the wait");
           checkCode(cu.cuStreamSynchronize.result(rows.stream), CUDA_ERROR_ILLEGAL_ADDRESS, "the next call");
           check(isLost(errorOf([&] { cu.cuMemAlloc(&rows.to, 64); })), "the context is lost");
           rows.to = 0;
         });
  misuse("a kernel far beyond the end", "memory that is not allocated was touched",
         [](const Driver& cu, Rows& rows) {
           rows.convert(rows.stream, 1000);
           checkCode(cu.cuStreamSynchronize.result(rows.stream), CUDA_ERROR_ILLEGAL_ADDRESS, "the wait");
         });
  misuse("a kernel just before the beginning",
         "bytes outside 768 bytes of memory were written, by clip_convert", [](const Driver& cu, Rows& rows) {
           cu.cuMemsetD8Async(rows.from, 0, Rows::kBytes, rows.stream);
           rows.to -= 16;
           rows.convert(rows.stream);
           rows.to += 16;
           cu.cuStreamSynchronize(rows.stream);
         });
  misuse("a stream used after it was destroyed", "cuMemsetD8Async: a stream that was destroyed",
         [](const Driver& cu, Rows& rows) {
           cu.cuStreamDestroy(rows.stream);
           checkCode(cu.cuMemsetD8Async.result(rows.from, 0, 1, std::exchange(rows.stream, nullptr)),
                     CUDA_ERROR_INVALID_HANDLE, "used");
         });
  misuse("an event destroyed twice", "cuEventDestroy: a event that was destroyed",
         [](const Driver& cu, Rows&) {
           CUevent event = nullptr;
           cu.cuEventCreate(&event, 0);
           cu.cuEventDestroy(event);
           checkCode(cu.cuEventDestroy.result(event), CUDA_ERROR_INVALID_HANDLE, "again");
         });
  misuse("a stream in place of an event", "a event that is none", [](const Driver& cu, Rows& rows) {
    checkCode(cu.cuEventRecord.result(reinterpret_cast<CUevent>(rows.stream), rows.stream),
              CUDA_ERROR_INVALID_HANDLE, "a stream");
  });
  misuse("a graph run after it was destroyed", "a executable graph that was destroyed",
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
           // Another thread is not concerned.
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
    const clip::Activations matrix{
        .data = reinterpret_cast<void*>(rows.from), .stride = 256, .dtype = clip::Dtype::bfloat16};
    const clip::Linear l{.x = matrix,
                         .w = matrix.data,
                         .bias = nullptr,
                         .residual = {},
                         .y = matrix,
                         .rows = 1,
                         .in = 16,
                         .out = 8,
                         .nonlinearity = clip::Nonlinearity::none};
    Launch launch = linearSquareLaunch(l);
    launch.shared /= 2;
    rows.module->launch(launch, rows.stream, {&l});
    checkCode(cu.cuStreamSynchronize.result(rows.stream), CUDA_ERROR_LAUNCH_FAILED, "the wait");
  });
  misuse("more shared memory than there is", "bytes of shared memory, it may have",
         [](const Driver&, Rows& rows) {
           const clip::Convert c{};
           const clip::Error e = errorOf([&] {
             rows.module->launch({"clip_convert", 1, 1, 1, 128, 1 << 20}, rows.stream, {&c});
           });
           check(e.code == "ERR_CLIP_CUDA" && e.field == "cuLaunchKernel" &&
                     e.actual == "CUDA_ERROR_INVALID_VALUE" &&
                     e.message.find("for clip_convert (1 x 1 x 1 blocks of 128 threads, 1048576 bytes") !=
                         std::string::npos,
                 e.message);
         });
  misuse("more threads than a kernel was compiled for", "with 256 threads, it was compiled for 128",
         [](const Driver&, Rows& rows) {
           const clip::Convert c{};
           errorOf([&] { rows.module->launch({"clip_convert", 1, 1, 1, 256, 0}, rows.stream, {&c}); });
         });
  misuse("no blocks", "impossible blocks", [](const Driver&, Rows& rows) {
    const clip::Convert c{};
    errorOf([&] { rows.module->launch({"clip_convert", 0, 1, 1, 128, 0}, rows.stream, {&c}); });
  });
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

std::string anotherDevice() {
  const Environment environment("CLIP_STANDIN_DEVICES=80,90");
  {
    Rows first(0);
    Rows second(1);
    checkCode(driver().cuStreamSynchronize.result(first.stream), CUDA_ERROR_INVALID_HANDLE,
              "the other one's stream");
    first.module->makeCurrent();
    driver().cuStreamSynchronize(first.stream);
  }
  return reported(environment, "cuStreamSynchronize: a stream that is of another context");
}

// The host crashes where it touches what is the device's.
std::string hostAccess(bool pinned) {
#if defined(__SANITIZE_ADDRESS__)
  return pinned ? "" : "";  // AddressSanitizer has the signal
#else
  const Child child = inChild([pinned]() -> std::string {
    const Environment environment;
    Rows rows;
    if (pinned) driver().cuMemFreeHost(rows.in);
    volatile float* at = pinned ? rows.in : reinterpret_cast<float*>(rows.from);
    const float value = *at;
    return "it read " + std::to_string(value);
  });
  if (child.end != "signal " + std::to_string(SIGSEGV)) return child.end + ": " + child.said;
  return child.said.find("host code touched device memory") != std::string::npos ? "" : child.said;
#endif
}

std::string faults() {
  const Environment environment;
  const Driver& cu = driver();
  {
    Rows rows;
    CUdeviceptr at = 0;
    void* pinned = nullptr;
    environment.fail("allocation:2=CUDA_ERROR_OUT_OF_MEMORY");
    cu.cuMemAlloc(&at, 64);
    checkCode(cu.cuMemHostAlloc.result(&pinned, 64, 0), CUDA_ERROR_OUT_OF_MEMORY, "the second allocation");
    cu.cuMemHostAlloc(&pinned, 64, 0);
    cu.cuMemFree(at);
    cu.cuMemFreeHost(pinned);
    environment.fail("cuMemAlloc:1+=CUDA_ERROR_OUT_OF_MEMORY");
    for (int i = 0; i < 3; i++)
      check(errorOf([&] { cu.cuMemAlloc(&at, 64); }).code == "ERR_CLIP_MEMORY", "all of them");
    cu.cuMemHostAlloc(&pinned, 64, 0);
    cu.cuMemFreeHost(pinned);
    environment.fail("kernel:2=CUDA_ERROR_LAUNCH_FAILED");
    cu.cuMemsetD8Async(rows.from, 0, Rows::kBytes, rows.stream);
    rows.convert(rows.stream);
    cu.cuStreamSynchronize(rows.stream);
    rows.convert(rows.stream);
    const clip::Error e = errorOf([&] { cu.cuStreamSynchronize(rows.stream); });
    check(
        e.code == "ERR_CLIP_CUDA" && e.field == "cuStreamSynchronize" &&
            e.actual == "CUDA_ERROR_LAUNCH_FAILED" &&
            e.message == "cuStreamSynchronize failed: CUDA_ERROR_LAUNCH_FAILED, unspecified launch failure.",
        e.message);
    check(isLost(e), "the context is lost");
    checkCode(cu.cuMemAlloc.result(&at, 64), CUDA_ERROR_LAUNCH_FAILED, "afterwards");
    environment.fail("");
  }
  // What was in the lost context could not be given back by its owners; a new one works.
  {
    Rows rows;
    rows.fill(1);
    cu.cuMemcpyHtoDAsync(rows.from, rows.in, Rows::kBytes, rows.stream);
    rows.convert(rows.stream);
    cu.cuMemcpyDtoHAsync(rows.out, rows.to, Rows::kBytes, rows.stream);
    cu.cuStreamSynchronize(rows.stream);
    check(rows.isCopied(1), "in a new context");
  }
  return "";
}

std::string memoryEnds() {
  const Environment environment("CLIP_STANDIN_MEMORY=1000000");
  {
    const auto module = Module::of(0);
    const Driver& cu = driver();
    check(module->device().memory == 1000000, "of the device");
    CUdeviceptr one = 0, two = 0;
    cu.cuMemAlloc(&one, 600000);
    checkCode(cu.cuMemAlloc.result(&two, 600000), CUDA_ERROR_OUT_OF_MEMORY, "too much");
    size_t free = 0, total = 0;
    cu.cuMemGetInfo(&free, &total);
    check(total == 1000000 && free < 400000 && free > 380000, "what is free");
    cu.cuMemFree(one);
    cu.cuMemAlloc(&two, 600000);
    cu.cuMemFree(two);
  }
  return silent(environment);
}

std::string eager() {
  const Environment environment("CLIP_STANDIN_EAGER=1");
  {
    Rows rows;
    rows.fill(4);
    driver().cuMemcpyHtoDAsync(rows.from, rows.in, Rows::kBytes, rows.stream);
    rows.convert(rows.stream);
    driver().cuMemcpyDtoHAsync(rows.out, rows.to, Rows::kBytes, rows.stream);
    check(rows.isCopied(4), "without waiting");
  }
  return silent(environment);
}

const cases::Registration registration([] {
  cases::add("standin", "copies, kernels, events", copiesAndKernels);
  cases::add("standin", "graphs record and replay", graphs);
  cases::add("standin", "a stream waits for an event of another", [] { return twoStreams(true); });
  cases::add("standin", "a stream that does not wait reads what is not there",
             [] { return twoStreams(false); });
  misuses();
  cases::add("standin", "another device's stream", anotherDevice);
  cases::add("standin", "the host reads device memory", [] { return hostAccess(false); });
  cases::add("standin", "the host reads pinned memory that was freed", [] { return hostAccess(true); });
  cases::add("standin", "faults that were asked for", faults);
  cases::add("standin", "memory ends", memoryEnds);
  cases::add("standin", "the helpful driver", eager);
});

}  // namespace
