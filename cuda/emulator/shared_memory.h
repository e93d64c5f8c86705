#pragma once
// Shared memory as kernels see it in the emulator: pointers that know the bounds of their array, and a shadow
// of every byte that reports every race from the epochs of barriers, whatever the actual order of threads.
// Also cp.async.
#include "state.h"

// The line of the call, for reports and to distinguish barriers.
#define EMULATOR_LINE int line = __builtin_LINE()

namespace emulator {

enum Operation { kBarrier, kBarrierAny, kSyncWarp, kWait, kVote, kShuffle, kShuffleXor, kMatrix, kMma };

// Whether a barrier or wait is effective: see Options::without.
inline bool synchronises(Operation operation, int line) {
  synchronisations.emplace(operation, line);
  return options.without != std::pair<int, int>(operation, line);
}

// Records one access of the running thread to [at, at + bytes), which must be inside [low, high). Returns
// whether it is.
bool touch(uint32_t at, uint32_t bytes, uint32_t low, uint32_t high, bool write, int line, const char* what);

}  // namespace emulator

// A T* into shared memory.
template <class T>
struct SharedPointer {
  uint32_t at, low, high;

  struct Reference {
    SharedPointer p;
    int line;
    operator T() const {
      T value;
      std::memset(static_cast<void*>(&value), 0xff, sizeof value);
      if (p.aligned(line) && emulator::touch(p.at, sizeof(T), p.low, p.high, false, line, "read"))
        std::memcpy(static_cast<void*>(&value), emulator::block.memory + p.at, sizeof(T));
      emulator::endIfStopped();
      return value;
    }
    const Reference& operator=(const T& value) const {
      if (p.aligned(line) && emulator::touch(p.at, sizeof(T), p.low, p.high, true, line, "write"))
        std::memcpy(emulator::block.memory + p.at, &value, sizeof(T));
      emulator::endIfStopped();
      return *this;
    }
  };
  struct Position {
    ptrdiff_t i;
    int line;
    Position(ptrdiff_t index, EMULATOR_LINE) : i(index), line(line) {}
  };

  bool aligned(int line) const {
    if (at % alignof(T)) emulator::report(line, "misaligned shared access");
    return at % alignof(T) == 0;
  }
  Reference operator[](Position p) const { return {*this + p.i, p.line}; }
  SharedPointer operator+(ptrdiff_t i) const {
    return {at + static_cast<uint32_t>(i * static_cast<ptrdiff_t>(sizeof(T))), low, high};
  }
};

// The argument of ldmatrix and cp.async; in the real build a 32-bit address.
using SharedAddress = SharedPointer<char>;

template <class T>
inline SharedAddress addressOf(SharedPointer<T> p) {
  return {p.at, p.low, p.high};
}
// `count` elements of type T from byte `offset` on, as a separate array whose bounds are checked.
template <class T>
inline SharedPointer<T> sharedPart(SharedAddress base, uint32_t offset, uint32_t count) {
  const uint32_t at = base.at + offset, end = at + count * static_cast<uint32_t>(sizeof(T));
  return {at, at, std::min(end, base.high)};
}
#define DYNAMIC_SHARED(name) \
  const SharedAddress name { 0, 0, emulator::block.bytes }

namespace emulator {

void copyAsync(SharedAddress to, const void* source, uint32_t size, uint32_t bytes, int line);
void commitCopies();
void waitForCopies(unsigned keep, int line);  // waits for all groups except the newest `keep`

}  // namespace emulator
