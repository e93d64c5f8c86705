#pragma once
// The state of one warp and one block of the PTX interpreter.
#include <cstring>
#include <stdexcept>

#include "banks.h"
#include "ptx.h"

namespace emulator::ptx {

using Lanes = uint64_t[32];

struct Copy {
  uint32_t to;
  const char* from;
  uint32_t bytes;  // of 16
};

struct BlockState {
  std::vector<char> shared, parameters;
  std::vector<bool> initialised;  // shared memory, byte by byte; false while a copy is in flight
  const Kernel* kernel;
  SharedTraffic* traffic = nullptr;  // of this kernel, set at its first access to shared memory
};

struct Warp {
  std::vector<std::array<uint64_t, 32>> rows;
  std::array<int, 32> pc{};
  uint32_t live = 0;  // lanes that have not returned
  int barrier = -1;   // the instruction at which the warp waits
  bool barrierVote = false;
  std::vector<std::vector<Copy>> copies{{}};

  uint64_t* row(int i) { return rows[static_cast<size_t>(i)].data(); }
};

[[noreturn]] inline void fault(const Instruction& i, const char* what) {
  throw std::runtime_error(std::string(what) + ": " + i.text);
}

template <class F>
inline void eachLane(uint32_t mask, F f) {
  for (; mask; mask &= mask - 1) f(__builtin_ctz(mask));
}

inline float asFloat(uint64_t bits) {
  const uint32_t low = static_cast<uint32_t>(bits);
  float f;
  std::memcpy(&f, &low, 4);
  return f;
}
inline uint64_t bitsOf(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return bits;
}

// Each of these executes one instruction for the lanes of mask; it returns false if the instruction is not of
// its kind.
bool arithmetic(Warp& warp, const Instruction& i, uint32_t mask);                       // ptx_arithmetic.cc
bool memoryAccess(BlockState& block, Warp& warp, const Instruction& i, uint32_t mask);  // ptx_memory.cc
bool together(BlockState& block, Warp& warp, const Instruction& i, uint32_t mask);      // ptx_memory.cc

}  // namespace emulator::ptx
