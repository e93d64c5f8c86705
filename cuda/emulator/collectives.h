#pragma once
// Operations that several threads execute together: barriers of the block, shuffles and votes of a warp.
#include "shared_memory.h"

namespace emulator {

int blockBarrier(Operation operation, int value, int line);

// Every lane of `mask` passes a pointer and sleeps; the last one to arrive runs all(arguments) for all of
// them, where arguments[lane] is nullptr for lanes outside the mask. Lanes that arrive at a different
// operation never wake: a deadlock, which the scheduler reports.
void collective(Operation operation, unsigned mask, void* argument, int line,
                void (*all)(void** arguments, int line));

// source(lane): the lane whose value this lane receives.
template <class T, class Source>
inline T shuffle(Operation operation, unsigned mask, T value, int line, Source source) {
  struct Argument {
    T in, out;
    int from;
  } argument{value, value, source(static_cast<int>(self->lane))};
  collective(operation, mask, &argument, line, [](void** all, int at) {
    for (int i = 0; i < 32; i++) {
      if (!all[i]) continue;
      Argument& mine = *static_cast<Argument*>(all[i]);
      if (all[mine.from]) {
        mine.out = static_cast<Argument*>(all[mine.from])->in;
      } else {
        report(at, "shuffle reads a lane outside the mask");
        std::memset(static_cast<void*>(&mine.out), 0xff, sizeof(T));
      }
    }
  });
  return argument.out;
}

unsigned vote(unsigned mask, int predicate, int line);

}  // namespace emulator

inline void __syncthreads(EMULATOR_LINE) { emulator::blockBarrier(emulator::kBarrier, 0, line); }
inline int __syncthreads_or(int predicate, EMULATOR_LINE) {
  return emulator::blockBarrier(emulator::kBarrierAny, predicate, line);
}
inline void __syncwarp(unsigned mask = emulator::kFull, EMULATOR_LINE) {
  if (!emulator::synchronises(emulator::kSyncWarp, line)) return;
  int nothing = 0;
  emulator::collective(emulator::kSyncWarp, mask, &nothing, line,
                       [](void**, int) { emulator::block.warpEpoch[emulator::self->warp]++; });
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_LINE) {
  return emulator::vote(mask, predicate, line);
}
inline int __any_sync(unsigned mask, int predicate, EMULATOR_LINE) {
  return emulator::vote(mask, predicate, line) != 0;
}
template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, EMULATOR_LINE) {
  return emulator::shuffle(emulator::kShuffle, mask, value, line, [=](int) { return lane & 31; });
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int bits, EMULATOR_LINE) {
  return emulator::shuffle(emulator::kShuffleXor, mask, value, line,
                           [=](int lane) { return (lane ^ bits) & 31; });
}
