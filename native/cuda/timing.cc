#include "timing.h"

#include <algorithm>
#include <cmath>

#include "timing_support.h"

namespace clip::cuda {
namespace timing {
namespace {

constexpr int kRounds = 5, kMostOfRound = 1000;

class Event {
 public:
  Event() { driver().cuEventCreate(&event_, CU_EVENT_DEFAULT); }
  ~Event() { driver().cuEventDestroy.result(event_); }
  Event(const Event&) = delete;
  CUevent get() const { return event_; }

 private:
  CUevent event_ = nullptr;
};

// The microseconds of a launch. Launches are nodes of a graph, as in a model, because starting each one
// separately would take longer than small kernels run.
double time(CUstream stream, const Step& step, double seconds, bool small) {
  const Driver& cu = driver();
  const int launches = small ? 1 : 16;
  const Recorded graph(std::vector<Step>(static_cast<size_t>(launches), step), stream, {});
  const Event from, to;
  const auto milliseconds = [&](int times) {
    cu.cuEventRecord(from.get(), stream);
    for (int i = 0; i < times; i++) graph.launch(stream);
    cu.cuEventRecord(to.get(), stream);
    cu.cuEventSynchronize(to.get());
    float ms = 0;
    cu.cuEventElapsedTime(&ms, from.get(), to.get());
    return double{ms};
  };
  const double once = milliseconds(1);
  if (small) return once * 1000 / launches;
  const int times =
      static_cast<int>(std::clamp(seconds * 1000 / kRounds / std::max(once, 1e-3), 1., double{kMostOfRound}));
  double fastest = INFINITY;
  for (int round = 0; round < kRounds; round++) fastest = std::min(fastest, milliseconds(times));
  return fastest * 1000 / times / launches;
}

}  // namespace

void* Bench::zeros(size_t bytes) {
  memory_.push_back(std::make_unique<DeviceMemory>(stream_.module(), bytes));
  return memory_.back()->as<void>();
}

}  // namespace timing

std::vector<KernelTiming> timeKernels(double seconds, bool small, const std::function<bool()>& go) {
  std::vector<timing::Case> cases;
  timing::addProducts(cases);
  timing::addRows(cases);
  std::vector<KernelTiming> results;
  for (const timing::Case& c : cases) {
    if (!go()) break;
    Stream stream(1);
    timing::Bench bench(stream, small);
    const timing::Work work = c.prepare(bench);
    stream.sync();
    double microseconds = 0;
    stream.run([&](CUstream s) { microseconds = timing::time(s, work.step, seconds, small); });
    results.push_back({c.kernel, work.shape, work.flops, work.bytes, work.tensor, microseconds});
  }
  return results;
}

}  // namespace clip::cuda
