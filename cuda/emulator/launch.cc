// The scheduler. Blocks run one after the other; in a block one warp runs as far as it can, then the next, so
// that warps drift as far apart as barriers allow.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "fiber.h"
#include "state.h"

namespace emulator {
namespace {

// All remaining threads wait: either for each other at one barrier, or forever. Returns whether they may
// continue.
bool passBarrier() {
  const Thread* first = nullptr;
  unsigned waiting = 0;
  block.votesAny = 0;
  for (unsigned i = 0; i < block.threadCount; i++) {
    const Thread& t = block.threads[i];
    if (t.state == State::done) continue;
    if (t.state == State::inCollective) {
      report(t.line, "deadlock: a warp collective waits for lanes that never come (mask %08x)", t.mask);
      return false;
    }
    if (first && (t.line != first->line || t.operation != first->operation)) {
      report(first->line, "divergent barrier: other threads wait at line %d", t.line);
      return false;
    }
    if (!first) first = &t;
    waiting++;
    block.votesAny |= t.value != 0;
  }
  if (waiting != block.threadCount) {
    report(first->line, "barrier reached by some threads: the others have returned");
    return false;
  }
  return true;
}

void startThreads() {
  const unsigned width = block.size.x, height = block.size.y;
  for (unsigned i = 0; i < block.threadCount; i++) {
    Thread& t = block.threads[i];
    t.index = {i % width, i / width % height, i / (width * height)};
    t.linear = i;
    t.lane = i % 32;
    t.warp = i / 32;
    t.state = State::running;
    t.copies.assign(1, {});
  }
}

// Runs one warp until all its threads wait. Returns the number of threads that have ended.
unsigned runWarp(unsigned warp) {
  const unsigned lanes = std::min(32u, block.threadCount - warp * 32);
  unsigned ended = 0;
  for (bool moved = true; moved;) {
    moved = false;
    const unsigned start = options.seed ? static_cast<unsigned>(block.random()) : 0;
    const unsigned step = options.seed ? static_cast<unsigned>(block.random()) | 1 : 1;
    for (unsigned i = 0; i < lanes; i++) {
      Thread& t = block.threads[warp * 32 + (lanes == 32 ? (i * step + start) % 32 : i)];
      if (t.state != State::running) continue;
      resume(t);
      if (block.stopped) return 0;
      moved = true;
      if (t.state == State::done) ended++;
    }
  }
  return ended;
}

}  // namespace

void report(int line, const char* format, ...) {
  char text[300];
  va_list list;
  va_start(list, format);
  std::vsnprintf(text, sizeof text, format, list);
  va_end(list);
  const std::string message = std::string(block.kernel) + ", line " + std::to_string(line) + ": " + text;
  block.stopped = options.stopAtReport;
  if (!reports[message]++ && getenv("EMULATOR_VERBOSE"))
    std::fprintf(stderr, "emulator: %s [block %u,%u,%u thread %u]\n", message.c_str(), block.index.x,
                 block.index.y, block.index.z, self ? self->linear : 0);
}

void runBlock() {
  block.epoch = 1;
  block.warpEpoch.assign((block.threadCount + 31) / 32, 1);
  std::fill_n(block.shadow.begin(), block.bytes, Shadow{});
  std::fill_n(block.memory, block.bytes, static_cast<char>(0xff));
  startThreads();
  std::vector<unsigned> order(block.warpEpoch.size());
  std::iota(order.begin(), order.end(), 0u);
  for (unsigned left = block.threadCount; left > 0;) {
    if (options.seed) std::shuffle(order.begin(), order.end(), block.random);
    for (const unsigned warp : order) {
      left -= runWarp(warp);
      if (block.stopped) break;
    }
    if (left == 0) break;
    if (block.stopped || !passBarrier()) {
      for (unsigned i = 0; i < block.threadCount; i++)
        makeFiber(block.threads[i]);  // they are abandoned where they are
      return;
    }
    block.epoch++;
    counters.barriers++;
    for (unsigned i = 0; i < block.threadCount; i++)
      if (block.threads[i].state == State::atBarrier) block.threads[i].state = State::running;
  }
  for (unsigned i = 0; i < block.threadCount; i++)
    for (const auto& group : block.threads[i].copies)
      if (!group.empty()) return report(0, "kernel ended with cp.async in flight");
}

void launch(const char* kernel, Index3 grid, Index3 threads, uint32_t sharedBytes,
            std::function<void()> body) {
  block.kernel = kernel;
  block.stopped = false;
  block.grid = grid;
  block.size = threads;
  block.threadCount = threads.x * threads.y * threads.z;
  block.bytes = sharedBytes;
  block.storage.resize(sharedBytes + 1024);
  block.memory =
      reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(block.storage.data()) + 1023) / 1024 * 1024);
  if (block.shadow.size() < sharedBytes) block.shadow.resize(sharedBytes);
  block.random.seed(options.seed);
  if (block.threads.size() < block.threadCount) block.threads.resize(block.threadCount);
  block.body = std::move(body);
  for (unsigned i = 0; i < block.threadCount; i++) makeFiber(block.threads[i]);
  std::vector<size_t> order(size_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), size_t{0});
  if (options.seed) std::shuffle(order.begin(), order.end(), block.random);
  for (const size_t i : order) {
    block.index = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                   static_cast<unsigned>(i / (size_t{grid.x} * grid.y))};
    runBlock();
    if (block.stopped) break;
  }
}

}  // namespace emulator
