// The stand-in itself: a correct program gives no report, and requested faults occur.
#include <cmath>
#include <csignal>

#include "cases.h"
#include "support.h"

namespace {

using namespace support;

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
    rows.cast(rows.stream);
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
    // Memory that is not pinned is read when the copy is queued.
    cu.cuMemcpyHtoDAsync(rows.from, three, sizeof three, rows.stream);
    three[0] = 9;
    cu.cuMemcpyDtoHAsync(back, rows.from, sizeof back, rows.stream);
    check(back[0] == 1, "pageable memory");
    cu.cuEventDestroy(before);
    cu.cuEventDestroy(after);
  }
  check(environment.calls("cuModuleUnload") == 1, "the module is given back");
  check(environment.calls("cuDevicePrimaryCtxRelease") == 1, "the context is given back");
  return environment.silent();
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
    rows.cast(rows.stream);
    cu.cuMemcpyDtoHAsync(rows.out, rows.to, Rows::kBytes, rows.stream);
    cu.cuStreamEndCapture(rows.stream, &graph);
    size_t nodes = 0;
    cu.cuGraphGetNodes(graph, nullptr, &nodes);
    check(nodes == 3, "three nodes");
    cu.cuGraphInstantiate(&run, graph, 0);
    cu.cuGraphDestroy(graph);
    cu.cuStreamSynchronize(rows.stream);
    check(environment.calls("kernel clip_cast") == 0, "what is recorded does not run");
    for (const float first : {1.0f, 100.0f}) {
      rows.fill(first);
      cu.cuGraphLaunch(run, rows.stream);
      cu.cuStreamSynchronize(rows.stream);
      check(rows.isCopied(first), "a replay");
    }
    check(environment.calls("kernel clip_cast") == 2 && environment.calls("cuLaunchKernel") == 1, "calls");
    cu.cuGraphExecDestroy(run);
  }
  return environment.silent();
}

// What the second stream reads without waiting for the first has not been written yet.
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
    rows.cast(rows.stream);
    cu.cuEventRecord(event, rows.stream);
    if (waits) cu.cuStreamWaitEvent(other, event, 0);
    cu.cuMemcpyDtoHAsync(rows.out, rows.to, Rows::kBytes, other);
    cu.cuStreamSynchronize(other);
    check(rows.isCopied(3) == waits, waits ? "an event is waited for" : "a missing event is seen");
    cu.cuEventDestroy(event);
    cu.cuStreamDestroy(other);
  }
  return environment.silent();
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
  return environment.reported("cuStreamSynchronize: this stream belongs to another context");
}

// The host crashes when it accesses memory of the device.
std::string hostAccess(bool pinned) {
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
    rows.cast(rows.stream);
    cu.cuStreamSynchronize(rows.stream);
    rows.cast(rows.stream);
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
  // The owners of what was in the lost context could not free it; a new context works.
  {
    Rows rows;
    rows.fill(1);
    cu.cuMemcpyHtoDAsync(rows.from, rows.in, Rows::kBytes, rows.stream);
    rows.cast(rows.stream);
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
  return environment.silent();
}

std::string eager() {
  const Environment environment("CLIP_STANDIN_EAGER=1");
  {
    Rows rows;
    rows.fill(4);
    driver().cuMemcpyHtoDAsync(rows.from, rows.in, Rows::kBytes, rows.stream);
    rows.cast(rows.stream);
    driver().cuMemcpyDtoHAsync(rows.out, rows.to, Rows::kBytes, rows.stream);
    check(rows.isCopied(4), "without waiting");
  }
  return environment.silent();
}

// The PTX that the addon carries is what runs.
std::string interpreted() {
  const Environment environment("CLIP_STANDIN_PTX=1");
  {
    Rows rows;
    check(rows.module->image() == "compute_80", rows.module->image());
    rows.fill(5);
    driver().cuMemcpyHtoDAsync(rows.from, rows.in, Rows::kBytes, rows.stream);
    rows.cast(rows.stream);
    driver().cuMemcpyDtoHAsync(rows.out, rows.to, Rows::kBytes, rows.stream);
    driver().cuStreamSynchronize(rows.stream);
    check(rows.isCopied(5), "the rows");
  }
  return environment.silent();
}

// A kernel gets an address of the host's own memory.
std::string hostPointer() {
  const Environment environment("CLIP_STANDIN_PTX=1");
  {
    Rows rows;
    std::vector<float> host(Rows::kBytes / 4);
    const CUdeviceptr from = std::exchange(rows.from, reinterpret_cast<CUdeviceptr>(host.data()));
    rows.cast(rows.stream);
    rows.from = from;
    checkCode(driver().cuStreamSynchronize.result(rows.stream), CUDA_ERROR_ILLEGAL_ADDRESS, "the wait");
  }
  return environment.reported("clip_cast: ");
}

const cases::Registration registration([] {
  cases::add("standin", "copies, kernels, events", copiesAndKernels);
  cases::add("standin", "graphs record and replay", graphs);
  cases::add("standin", "a stream waits for an event of another", [] { return twoStreams(true); });
  cases::add("standin", "a stream that does not wait reads data that is not there yet",
             [] { return twoStreams(false); });
  cases::add("standin", "a stream of another device is reported", anotherDevice);
  if (kRescues) {
    cases::add("standin", "the host crashes when it reads device memory", [] { return hostAccess(false); });
    cases::add("standin", "the host crashes when it reads pinned memory that was freed",
               [] { return hostAccess(true); });
  }
  cases::add("standin", "requested faults occur", faults);
  cases::add("standin", "memory runs out", memoryEnds);
  cases::add("standin", "with CLIP_STANDIN_EAGER, operations run at once", eager);
  cases::add("standin", "the PTX runs in the interpreter", interpreted);
  cases::add("standin", "a kernel that gets an address of the host's memory fails", hostPointer);
});

}  // namespace
