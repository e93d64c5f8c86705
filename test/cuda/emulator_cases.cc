// The emulator's own tests: small kernels that are correct, or wrong in one known way that it must report
// whatever the order of threads; and the real kernels with each of their barriers and waits removed.
#include <functional>
#include <set>
#include <stdexcept>

#include "cases.h"
#include "device.h"
#include "emulator/emulator.h"
#include "kernel_runs.h"
#include "primitives.cuh"

namespace {

using namespace clip::cuda;

constexpr unsigned kLanes = 0xffffffffu;

// A block of 128 threads, 4 KB of shared memory.
void sums(float* out, const float* in, int n) {
  DYNAMIC_SHARED(memory);
  const auto part = sharedPart<float>(memory, 0, 4);
  float v = 0;
  for (int i = threadIdx.x; i < n; i += 128) v += in[i];
  for (int bits = 16; bits; bits >>= 1) v += __shfl_xor_sync(kLanes, v, bits);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  const bool bits = __ballot_sync(kLanes, threadIdx.x & 1) == 0xaaaaaaaau;
  if (__syncthreads_or(!bits) == 0 && threadIdx.x == 0) *out = part[0] + part[1] + part[2] + part[3];
}
void swapsInWarp(float* out) {
  DYNAMIC_SHARED(memory);
  const auto s = sharedPart<float>(memory, 0, 128);
  s[threadIdx.x] = float(threadIdx.x);
  __syncwarp();
  out[threadIdx.x] = s[threadIdx.x ^ 1];
}
void missingBarrier(float* out) {
  DYNAMIC_SHARED(memory);
  const auto s = sharedPart<float>(memory, 0, 128);
  s[threadIdx.x] = 1;
  out[threadIdx.x] = s[127 - threadIdx.x];
}
void divergentBarrier(float* out) {
  if (threadIdx.x < 64) {
    __syncthreads();
  } else {
    out[threadIdx.x] = 1;
    __syncthreads();
  }
}
void returnsBeforeBarrier(float* out) {
  if (threadIdx.x >= 100) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}
void barrierInBranch(float* out) {
  if (threadIdx.x < 16) __syncthreads();
  out[threadIdx.x] = __shfl_xor_sync(kLanes, 1.f, 1);
}
void neighbourArray(float* out) {
  DYNAMIC_SHARED(memory);
  const auto s = sharedPart<float>(memory, 0, 128), t = sharedPart<float>(memory, 512, 128);
  t[threadIdx.x] = 0;
  s[threadIdx.x + 1] = 1;
  out[0] = 0;
}
void uninitialised(float* out) {
  DYNAMIC_SHARED(memory);
  const auto s = sharedPart<float>(memory, 0, 129);
  s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x + 1];
}
void lanesMissing(float* out) {
  float v = 0;
  if (threadIdx.x % 32 < 8) v = __shfl_xor_sync(kLanes, 1.f, 1);
  out[threadIdx.x] = v;
}
void laneOutsideMask(float* out) {
  float v = 0;
  if (threadIdx.x % 32 < 16) v = __shfl_sync(0xffffu, 1.f, 20);
  out[threadIdx.x] = v;
}
void callerOutsideMask(float* out) { out[threadIdx.x] = float(__ballot_sync(0xffffu, 1)); }
void writesTwice(float* out) {
  DYNAMIC_SHARED(memory);
  const auto s = sharedPart<int>(memory, 0, 1);
  s[0] = int(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = float(s[0]);
}
void missingSyncwarp(float* out) {
  DYNAMIC_SHARED(memory);
  const auto s = sharedPart<float>(memory, 0, 128);
  s[threadIdx.x] = 1;
  out[threadIdx.x] = s[threadIdx.x ^ 1];
}
void readThenOverwritten(float* out) {
  DYNAMIC_SHARED(memory);
  const auto s = sharedPart<float>(memory, 0, 128);
  s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[127 - threadIdx.x];
  s[threadIdx.x] = 2;
}
void misaligned(float* out) {
  DYNAMIC_SHARED(memory);
  const auto s = sharedPart<float>(memory, 0, 136);
  s[threadIdx.x] = 1;
  if (threadIdx.x < 8) s[128 + threadIdx.x] = 1;
  __syncthreads();
  const float4 v = sharedPart<float4>(memory, 4, 1)[0];
  out[threadIdx.x] = v.x;
}
void copyUnderWay(float* out, const float* in) {
  DYNAMIC_SHARED(memory);
  copyAsync16(addressOf(sharedPart<float>(memory, 16 * threadIdx.x, 4)), in + threadIdx.x * 4, 16);
  commitCopies();
  out[0] = 0;
}
void copyReadEarly(float* out, const float* in) {
  DYNAMIC_SHARED(memory);
  const auto s = sharedPart<float>(memory, 16 * threadIdx.x, 4);
  copyAsync16(addressOf(s), in + threadIdx.x * 4, 16);
  commitCopies();
  waitForCopies<1>();
  out[threadIdx.x] = s[0];
  waitForCopies<0>();
}

// Returns "" or what is wrong: `want` must be among the reports; if it is nullptr, there must be none.
std::string reported(const char* want, const std::function<void(float*, const float*)>& body) {
  std::vector<float> out(128), in(512, 1.f);
  for (uint64_t seed = 0; seed < 4; seed++) {
    emulator::options = {};
    emulator::options.seed = seed;
    emulator::reports.clear();
    emulator::launch("test", {1, 1, 1}, {128, 1, 1}, 4096, [&] { body(out.data(), in.data()); });
    emulator::options = {};
    std::string all;
    for (const auto& report : emulator::reports) all += report.first + "; ";
    if (want ? all.find(want) == std::string::npos : !all.empty())
      return cases::format("seed %d reports: %s", int(seed), all.c_str());
  }
  return "";
}

void addMiniKernels() {
  const auto add = [](const char* name, const char* want, std::function<void(float*, const float*)> body) {
    cases::add("emulator", cases::format("%s: %s", name, want ? want : "no report"),
               [want, body = std::move(body)] { return reported(want, body); });
  };
  cases::add("emulator", "a correct block sum gives the right value and no report", [] {
    float sum = 0;
    const std::string wrong = reported(nullptr, [&](float*, const float* in) { sums(&sum, in, 500); });
    return wrong.empty() && sum != 500 ? cases::format("%g", sum) : wrong;
  });
  add("swap in a warp", nullptr, [](float* out, const float*) { swapsInWarp(out); });
  add("missing barrier", "race: read", [](float* out, const float*) { missingBarrier(out); });
  add("two barriers in two branches", "divergent barrier",
      [](float* out, const float*) { divergentBarrier(out); });
  add("return before a barrier", "the others have returned",
      [](float* out, const float*) { returnsBeforeBarrier(out); });
  add("barrier in a branch", "deadlock", [](float* out, const float*) { barrierInBranch(out); });
  add("one array into the next", "out of bounds", [](float* out, const float*) { neighbourArray(out); });
  add("uninitialised", "uninitialised", [](float* out, const float*) { uninitialised(out); });
  add("lanes missing from a shuffle", "deadlock", [](float* out, const float*) { lanesMissing(out); });
  add("shuffle from outside the mask", "outside the mask",
      [](float* out, const float*) { laneOutsideMask(out); });
  add("vote by a lane outside the mask", "not in the warp mask",
      [](float* out, const float*) { callerOutsideMask(out); });
  add("all write one place", "race: write", [](float* out, const float*) { writesTwice(out); });
  add("missing __syncwarp", "race: read", [](float* out, const float*) { missingSyncwarp(out); });
  add("overwritten before others have read", "race: write",
      [](float* out, const float*) { readThenOverwritten(out); });
  add("misaligned", "misaligned", [](float* out, const float*) { misaligned(out); });
  add("copy under way at the end", "in flight", copyUnderWay);
  add("copy read before it is there", "before wait_group", copyReadEarly);
}

// Removes every barrier and wait that `shapes` execute, one at a time. Each removal must be detected with
// some shape, except for `unseen` of them, which order global memory: the emulator's blocks run one after the
// other and do not need those.
std::string everySynchronisation(const std::vector<std::function<void()>>& shapes, int unseen) {
  std::vector<std::set<std::pair<int, int>>> passed(shapes.size());
  std::set<std::pair<int, int>> all;
  for (size_t i = 0; i < shapes.size(); i++) {
    emulator::synchronisations.clear();
    shapes[i]();
    passed[i] = emulator::synchronisations;
    all.insert(passed[i].begin(), passed[i].end());
  }
  const char* kinds[] = {"__syncthreads", "__syncthreads_or", "__syncwarp", "cp.async wait"};
  for (const auto& point : all) {
    int runs = 0, missed = 0;
    for (size_t i = 0; i < shapes.size(); i++) {
      if (!passed[i].count(point)) continue;
      emulator::options.without = point;
      emulator::options.stopAtReport = true;
      runs++;
      try {
        shapes[i]();
      } catch (const std::runtime_error&) {
        missed++;
      }
      emulator::options = {};
    }
    std::printf("# %s in line %d taken away: %d of %d runs report it\n", kinds[point.first], point.second,
                missed, runs);
    if (missed == 0 && unseen-- <= 0)
      return cases::format("without the synchronisation of kind %d in line %d nothing is reported",
                           point.first, point.second);
  }
  return all.empty() ? "no barriers" : unseen > 0 ? "fewer are unseen than the test says" : "";
}

const cases::Registration registration([] {
  addMiniKernels();
  cases::add("emulator", "attention: the removal of any barrier or wait is detected",
             [] { return everySynchronisation(attentionRuns(), 0); });
  // The exception is the one before the counter of a tile of the skinny kernel.
  cases::add("emulator", "linear: the removal of any barrier or wait is detected",
             [] { return everySynchronisation(productRuns(), 1); });
});

}  // namespace
