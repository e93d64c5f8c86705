#pragma once
// Executes the PTX that nvcc emitted, including inline assembly, which the fiber emulator cannot check. Warps
// run in lockstep, the lanes that are furthest behind first; blocks run one after the other. Errors are: an
// unknown instruction, which is never guessed; an access outside the arguments' memory (memory_map.h); shared
// memory read before it was written or while cp.async is in flight; and a warp-wide instruction that not all
// lanes execute.
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace emulator::ptx {

enum class Type : uint8_t { none, pred, b8, b16, b32, b64, u8, u16, u32, u64, s8, s16, s32, s64, f16, f32 };
constexpr int bytesOf(Type t) {
  switch (t) {
    case Type::b8:
    case Type::u8:
    case Type::s8:
      return 1;
    case Type::b16:
    case Type::u16:
    case Type::s16:
    case Type::f16:
      return 2;
    case Type::b64:
    case Type::u64:
    case Type::s64:
      return 8;
    default:
      return 4;
  }
}

enum class Op : uint8_t {
  mov,
  halves,
  arithmetic,
  multiply,
  multiplyAdd,
  fma,
  unary,
  shift,
  bitFieldInsert,
  permute,
  convert,
  packHalves,
  compare,
  select,
  load,
  store,
  branch,
  end,
  barrier,
  barrierVote,
  warpBarrier,
  fence,
  atomicAdd,
  vote,
  shuffle,
  copyAsync,
  commit,
  wait,
  loadMatrix,
  mma,
};
enum class Space : uint8_t { param, shared, global };

// One instruction. Operands are rows of the register file, for registers, constants and special registers
// alike.
struct Instruction {
  Op op;
  std::string name;  // for arithmetic, multiply, unary, compare: "add", "wide", "rcp", "lt"
  int code = 0;      // `name` as its number in its table
  Type type = Type::none, from = Type::none;
  Space space = Space::global;
  int guard = -1;  // predicate row; -1: always
  bool guardNegated = false;
  std::vector<int> to, operands;   // row numbers
  std::vector<int> second, third;  // mma: b and c
  int64_t offset = 0;              // for an address
  int target = -1;                 // for a branch; for a wait: the number of groups that may remain
  bool flush = false;              // .ftz: subnormal results become zero
  bool transposed = false, bfloat16 = false;
  bool wide = false;  // for a load: its register has 64 bits
  std::string text;
  uint64_t* issued = nullptr;  // a counter of all instructions with this name
};

struct Kernel {
  std::string name;
  std::map<std::string, int> parameters;  // byte offsets
  std::vector<int> parameterBytes;        // in order
  std::vector<Instruction> instructions;
  int rows = 0;                                     // of the register file
  std::vector<std::pair<int, uint64_t>> constants;  // rows that hold a constant
  std::array<int, 10> special{};                    // rows of %tid.x ..., in the order of kSpecial
};

enum Special { kTidX, kNtidX, kCtaidX, kCtaidY, kCtaidZ, kNctaidX, kNctaidY, kNctaidZ, kLaneId };

// The address at which parameters begin, so that an access to the wrong state space is detected.
constexpr uint64_t kParameterBase = 1 << 16;

using Module = std::map<std::string, Kernel>;
Module parse(const std::string& text);  // throws std::runtime_error with the first unknown line

struct Grid {
  unsigned x, y, z, threads;
  uint32_t shared;
};
// arguments: their addresses, as in cuLaunchKernel. Throws std::runtime_error for every fault.
void run(const Kernel& kernel, const Grid& grid, const void* const* arguments);

// The number of instructions issued by warps since it was cleared, by name; for tests.
inline std::map<std::string, uint64_t> issued;

}  // namespace emulator::ptx
