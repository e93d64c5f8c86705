#pragma once
// The state of the fiber emulator for the running block. A process runs one launch at a time; blocks run one
// after the other, and a block has one fiber per CUDA thread, all on the calling thread.
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "words.h"

namespace emulator {

constexpr unsigned kFull = 0xffffffffu;

// How tensor cores add. Real ones differ between generations, so a kernel's tolerance must not depend on it.
enum class Sum : uint8_t {
  inOrder,  // float32, product by product
  exact,    // double, rounded once
  // eight products and the accumulator aligned to the largest, truncated to 24 bits, rounded to zero
  aligned,
};

struct Options {
  uint64_t seed = 0;             // 0: threads, warps and blocks in order; otherwise shuffled
  Sum sum = Sum::inOrder;        //
  bool copiesLandEarly = false;  // cp.async data arrives when issued instead of when waited for
  bool check = true;             // whether to check initialisation and races of shared memory
  size_t stackBytes = 64 << 10;
  // ends a launch at the first report, because a kernel that has read garbage may write anywhere
  bool stopAtReport = false;
  // A planted bug: the barrier or wait of this kind at this source line has no effect.
  std::pair<int, int> without{-1, -1};
};
inline Options options;
// The barriers and waits, (Operation, line), that were executed since this was cleared.
inline std::set<std::pair<int, int>> synchronisations;

struct Counters {
  uint64_t switches, barriers;
  uint64_t mma;  // in units of m16n8k8; m16n8k16 counts as two
  // 8x8 matrices, and their bank cycles, of which each needs at least one
  uint64_t matrixLoads, matrixLoadWaves;
  uint64_t copiedBytes;  // cp.async
};
inline Counters counters;

inline std::map<std::string, int> reports;  // message -> number of times

// One cp.async: copies `bytes` from `source`, then zeros up to `size`.
struct Copy {
  uint32_t to, size, bytes;
  const void* source;
};

enum class State : uint8_t { running, atBarrier, inCollective, done };

struct Thread {
  Index3 index;
  unsigned linear, lane, warp;
  State state;
  // Where it waits, and for what.
  int line, operation, value;
  unsigned mask;
  void* argument;
  std::vector<std::vector<Copy>> copies;  // cp.async groups, the last of which is still open
  // The fiber.
  char* stack = nullptr;
  void* stackPointer = nullptr;
  void* fakeStack = nullptr;
};

// Which thread accessed a byte of shared memory last, in which interval between barriers of the block and of
// the warp.
struct Shadow {
  uint16_t writer, reader;  // thread + 1
  uint32_t writeEpoch, writeWarpEpoch, readEpoch, readWarpEpoch;
  uint8_t initialised, pending;
  uint8_t readers;  // 0: only `reader`, 1: several threads of its warp, 2: of several warps
};

struct Block {
  std::vector<Thread> threads;
  unsigned threadCount = 0;
  Index3 index, grid, size;
  uint32_t epoch = 1;
  std::vector<uint32_t> warpEpoch;
  // Shared memory.
  std::vector<char> storage;
  char* memory = nullptr;
  std::vector<Shadow> shadow;
  uint32_t bytes = 0;
  // The scheduler.
  std::function<void()> body;
  void* scheduler = nullptr;
  void* schedulerFakeStack = nullptr;
  const void* schedulerStack = nullptr;
  size_t schedulerStackBytes = 0;
  std::mt19937_64 random;
  const char* kernel = "";
  int votesAny;          // result of the barrier that all threads have reached
  bool stopped = false;  // Options::stopAtReport
};
inline Block block;
inline Thread* self = nullptr;  // nullptr between threads

// Reports a fault of the kernel, once per message.
void report(int line, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Suspends the running thread until something sets its state to running again.
void yield();

// A thread ends here after a report if Options::stopAtReport is set.
inline void endIfStopped() {
  while (block.stopped) yield();
}

// Runs one block of threads to its end, or to a fault after which it cannot continue.
void runBlock();

// Runs body() once per thread of every block, like a CUDA kernel.
void launch(const char* kernel, Index3 grid, Index3 threads, uint32_t sharedBytes,
            std::function<void()> body);

}  // namespace emulator

#define threadIdx (emulator::self->index)
#define blockIdx (emulator::block.index)
#define blockDim (emulator::block.size)
#define gridDim (emulator::block.grid)
