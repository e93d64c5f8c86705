#include "timing.h"

#include <algorithm>
#include <cmath>

#include "half.h"
#include "timing_support.h"

namespace clip::cuda {
namespace timing {
namespace {

constexpr size_t kPattern = size_t{1} << 16;  // numbers, repeated
constexpr int kRounds = 5, kMostOfRound = 1000;

std::vector<char> pattern(size_t count, Dtype dtype) {
  std::vector<char> bytes(count * bytesOf(dtype));
  uint32_t state = 1;
  for (size_t i = 0; i < count; i++) {
    state = state * 1664525u + 1013904223u;
    const float v = static_cast<float>(static_cast<int32_t>(state) >> 8) * 0x1p-23f;  // -1 to 1
    if (dtype == Dtype::float32)
      reinterpret_cast<float*>(bytes.data())[i] = v;
    else
      reinterpret_cast<uint16_t*>(bytes.data())[i] = dtype == Dtype::bfloat16 ? toBfloat16(v) : toFloat16(v);
  }
  return bytes;
}

class Event {
 public:
  Event() { driver().cuEventCreate(&event_, CU_EVENT_DEFAULT); }
  ~Event() { driver().cuEventDestroy.result(event_); }
  Event(const Event&) = delete;
  CUevent get() const { return event_; }

 private:
  CUevent event_ = nullptr;
};

// Microseconds of a launch. Launches are nodes of a graph, as in a model: starting each one would take longer
// than small kernels do.
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

void* Bench::numbers(size_t count, Dtype dtype) {
  const std::vector<char> some = pattern(std::min(count, kPattern), dtype);
  const size_t bytes = count * bytesOf(dtype);
  void* const place = zeros(bytes);
  stream_.upload(place, some.data(), some.size());
  const auto at = reinterpret_cast<CUdeviceptr>(place);
  stream_.run([=, first = some.size()](CUstream s) {
    for (size_t done = first; done < bytes; done *= 2)
      driver().cuMemcpyDtoDAsync(at + done, at, std::min(done, bytes - done), s);
  });
  return place;
}

MatrixView Bench::matrix(int rows, int cols, Dtype dtype) {
  const size_t stride = lineStride(static_cast<size_t>(cols) * bytesOf(dtype));
  return {.data = numbers(static_cast<size_t>(rows) * stride / bytesOf(dtype), dtype),
          .stride = stride,
          .dtype = dtype};
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
