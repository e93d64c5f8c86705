#include "profile.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <utility>

namespace clip {
namespace {

std::atomic<bool> running{false};
std::mutex mutex;  // guards the variables below
std::vector<OpTimes> times;
const Backend* real = nullptr;

int bytesIn(Dtype dtype) { return static_cast<int>(bytesOf(dtype)); }

// Ops whose rows and columns have other names, or which have weights.
OpTimes describe(const char* op, const Linear& l) {
  return {op, l.rows, l.in, l.out, l.x.dtype, bytesIn(l.weights), {}};
}
OpTimes describe(const char* op, const Attention& a) {
  return {op, a.queries, a.rows, a.heads * a.dim, a.q.dtype, 0, {}};
}
OpTimes describe(const char* op, const Gather& g) { return {op, g.count, g.cols, 0, g.y.dtype, 0, {}}; }
OpTimes describe(const char* op, const Patches& p) {
  const int side = p.size / p.patch;
  return {op, p.images * side * side, 3 * p.patch * p.patch, 0, p.y.dtype, 0, {}};
}
OpTimes describe(const char* op, const Conv& c) {
  return {op,
          c.images * c.outHeight() * c.outWidth(),
          c.kernel * c.kernel * c.in,
          c.out,
          c.dtype,
          bytesIn(c.dtype),
          {}};
}
OpTimes describe(const char* op, const DepthwiseConv& d) {
  return {op, d.images * d.outHeight() * d.outWidth(), d.kernel * d.kernel, d.out(), d.y.dtype, 4, {}};
}
OpTimes describe(const char* op, const Pooling& p) {
  return {op, p.images * p.height * p.width, p.channels, 0, p.y.dtype, 0, {}};
}
OpTimes describe(const char* op, const Rope& r) { return {op, r.rows, r.heads * r.dim, 0, r.y.dtype, 0, {}}; }
OpTimes describe(const char* op, const Resize& r) {
  return {op, r.cropHeight * r.cropWidth, r.channels, 0, Dtype::uint8, 0, {}};
}
template <class Op>
requires requires(const Op& o) { o.rows, o.cols, o.y.dtype; }
OpTimes describe(const char* op, const Op& o) { return {op, o.rows, o.cols, 0, o.y.dtype, 0, {}}; }

void add(const OpTimes& what, float seconds) {
  const std::lock_guard lock(mutex);
  for (OpTimes& t : times)
    if (t.op == what.op && t.rows == what.rows && t.in == what.in && t.out == what.out &&
        t.dtype == what.dtype && t.weightBytes == what.weightBytes) {
      t.seconds.push_back(seconds);
      return;
    }
  times.push_back(what);
  times.back().seconds.push_back(seconds);
}

// The ops of a tower, whose inputs and outputs are activations.
template <class Op>
constexpr bool isTimed = requires(const Op& op) {
  describe("", op);
};

template <auto Entry>
const char* opName = nullptr;

template <auto Entry, class Op>
void timed(Context& context, const Op& op) {
  using Clock = std::chrono::steady_clock;
  const auto from = Clock::now();
  (real->*Entry)(context, op);
  add(describe(opName<Entry>, op), std::chrono::duration<float>(Clock::now() - from).count());
}

template <auto Entry, class Op>
void takeTimes(Backend& table, const char* name) {
  if constexpr (isTimed<Op>) {
    opName<Entry> = name;
    table.*Entry = timed<Entry, Op>;
  }
}

Backend timedCopy(const Backend& b) {
  Backend t = b;
#define CLIP_TIMED(op, Arguments) takeTimes<&Backend::op, Arguments>(t, #op);
  CLIP_OPS(CLIP_TIMED)
#undef CLIP_TIMED
  return t;
}

}  // namespace

void startProfile() { running.store(true); }

std::vector<OpTimes> readProfile(bool stop) {
  if (stop) running.store(false);
  const std::lock_guard lock(mutex);
  return std::exchange(times, {});
}

const Backend& profiled(const Backend& b) {
  if (!running.load()) return b;
  const std::lock_guard lock(mutex);
  if (real && real != &b) return b;
  real = &b;
  static const Backend table = timedCopy(b);  // never freed: models that use it may still exist
  return table;
}

}  // namespace clip
