// The instructions that access memory, and those that a warp executes together.
#include <algorithm>

#include "memory_map.h"
#include "ptx_warp.h"
#include "tensor_core.h"

namespace emulator::ptx {
namespace {

// Counts the cost of an access to shared memory of `bytes` per lane.
void countBanks(BlockState& block, SharedAccess kind, const uint64_t* base, int64_t offset, uint32_t mask,
                size_t bytes) {
  if (!block.traffic) block.traffic = &sharedTraffic[block.kernel->name];
  std::array<uint32_t, 32> address{};
  eachLane(mask, [&](int l) {
    address[static_cast<size_t>(l)] = static_cast<uint32_t>(base[l] + static_cast<uint64_t>(offset));
  });
  countWavefronts((*block.traffic)[kind], address, mask, static_cast<uint32_t>(bytes));
}

// The byte to which an address of a lane refers, after checks.
char* resolve(BlockState& block, const Instruction& i, Space space, uint64_t address, size_t bytes,
              bool write) {
  if (address % bytes) fault(i, "misaligned address");
  if (space == Space::param) {
    const uint64_t at = address - kParameterBase;
    if (at + bytes > block.parameters.size()) fault(i, "parameter out of bounds");
    return block.parameters.data() + at;
  }
  if (space == Space::shared) {
    const uint32_t at = static_cast<uint32_t>(address);
    if (uint64_t{at} + bytes > block.shared.size()) fault(i, "shared memory out of bounds");
    for (size_t b = at; b < at + bytes; b++) {
      if (write)
        block.initialised[b] = true;
      else if (!block.initialised[b])
        fault(i, "shared memory read before it was written, or while a copy is under way");
    }
    return block.shared.data() + at;
  }
  if (!isMapped(address, bytes)) fault(i, "global memory out of bounds");
  return reinterpret_cast<char*>(address);
}

void load(BlockState& block, Warp& w, const Instruction& i, uint32_t mask, bool write) {
  const size_t size = static_cast<size_t>(bytesOf(i.type)), parts = i.to.size();
  const uint64_t* base = w.row(i.operands[0]);
  if (i.space == Space::shared) countBanks(block, write ? kStore : kLoad, base, i.offset, mask, size * parts);
  eachLane(mask, [&](int l) {
    char* at = resolve(block, i, i.space, base[l] + static_cast<uint64_t>(i.offset), size * parts, write);
    for (size_t n = 0; n < parts; n++, at += size) {
      uint64_t& value = w.row(i.to[n])[l];
      if (write) {
        std::memcpy(at, &value, size);
        continue;
      }
      value = 0;
      std::memcpy(&value, at, size);
      const unsigned spare = 64 - 8 * static_cast<unsigned>(size);
      if (i.type == Type::s8 || i.type == Type::s16 || i.type == Type::s32) {
        const auto extended = static_cast<uint64_t>(static_cast<int64_t>(value << spare) >> spare);
        value = i.wide ? extended : static_cast<uint32_t>(extended);
      }
    }
  });
}

void land(BlockState& block, const std::vector<Copy>& group) {
  for (const Copy& c : group) {
    std::memset(block.shared.data() + c.to, 0, 16);
    std::memcpy(block.shared.data() + c.to, c.from, c.bytes);
    std::fill_n(block.initialised.begin() + c.to, 16, true);
  }
}

void copyAsync(BlockState& block, Warp& w, const Instruction& i, uint32_t mask) {
  const uint64_t *to = w.row(i.operands[0]), *from = w.row(i.operands[1]), *bytes = w.row(i.operands[2]);
  countBanks(block, kCopyAsync, to, 0, mask, 16);
  eachLane(mask, [&](int l) {
    const uint32_t n = static_cast<uint32_t>(bytes[l]);
    if (n > 16) fault(i, "cp.async of more than 16 bytes");
    if (from[l] % 16) fault(i, "misaligned address");
    char* place = resolve(block, i, Space::shared, to[l], 16, true);
    if (n > 0 && !isMapped(from[l], n)) fault(i, "global memory out of bounds");
    const auto at = static_cast<uint32_t>(place - block.shared.data());
    std::fill_n(block.initialised.begin() + at, 16, false);
    std::memset(place, 0xff, 16);
    w.copies.back().push_back({at, reinterpret_cast<const char*>(from[l]), n});
  });
}

void shuffle(Warp& w, const Instruction& i, uint32_t mask) {
  const std::array<uint64_t, 32> value = w.rows[static_cast<size_t>(i.operands[0])];
  const uint64_t *where = w.row(i.operands[1]), *clamp = w.row(i.operands[2]),
                 *members = w.row(i.operands[3]);
  uint64_t* to = w.row(i.to[0]);
  eachLane(mask, [&](int l) {
    const int from = static_cast<int>(i.code ? where[l] ^ static_cast<uint64_t>(l) : where[l]) & 31;
    if (static_cast<uint32_t>(clamp[l]) != 31 || (static_cast<uint32_t>(members[l]) & w.live) != w.live)
      fault(i, "a shuffle of a part of a warp");
    if (!(mask >> from & 1)) fault(i, "shuffle reads a lane that is not there");
    to[l] = value[static_cast<size_t>(from)];
  });
}

// Lane 4 r + c of register m holds elements 2 c and 2 c + 1 of row r of matrix m.
void loadMatrix(BlockState& block, Warp& w, const Instruction& i) {
  const uint64_t* address = w.row(i.operands[0]);
  // Eight lanes provide the addresses of the rows of each matrix.
  countBanks(block, kLoadMatrix, address, i.offset,
             static_cast<uint32_t>((uint64_t{1} << 8 * i.to.size()) - 1), 16);
  for (size_t m = 0; m < i.to.size(); m++) {
    uint16_t matrix[8][8];
    for (size_t r = 0; r < 8; r++)
      std::memcpy(
          matrix[r],
          resolve(block, i, Space::shared, address[m * 8 + r] + static_cast<uint64_t>(i.offset), 16, false),
          16);
    uint64_t* to = w.row(i.to[m]);
    for (int r = 0; r < 8; r++)
      for (int c = 0; c < 4; c++) {
        const uint32_t low = i.transposed ? matrix[2 * c][r] : matrix[r][2 * c];
        const uint32_t high = i.transposed ? matrix[2 * c + 1][r] : matrix[r][2 * c + 1];
        to[r * 4 + c] = low | high << 16;
      }
  }
}

// Operands are assembled from matrices of 8 x 8, without the arithmetic of tensor_core.cc.
void mma(Warp& w, const Instruction& i) {
  float a[16][16], b[16][8], d[16][8];
  const auto half = [&](uint64_t bits) {
    const auto u = static_cast<uint16_t>(bits);
    return i.bfloat16 ? asFloat(uint32_t{u} << 16) : fromFloat16(u);
  };
  const int depth = i.code;
  for (int r = 0; r < 8; r++)
    for (int c = 0; c < 4; c++) {
      const int lane = r * 4 + c;
      for (int k = 0; k < depth / 8; k++) {
        const uint64_t top = w.row(i.operands[static_cast<size_t>(2 * k)])[lane];
        const uint64_t bottom = w.row(i.operands[static_cast<size_t>(2 * k + 1)])[lane];
        const uint64_t column = w.row(i.second[static_cast<size_t>(k)])[lane];
        for (int h = 0; h < 2; h++) {
          a[r][8 * k + 2 * c + h] = half(top >> 16 * h);
          a[8 + r][8 * k + 2 * c + h] = half(bottom >> 16 * h);
          b[8 * k + 2 * c + h][r] = half(column >> 16 * h);
        }
      }
      for (int h = 0; h < 2; h++) {
        d[r][2 * c + h] = asFloat(w.row(i.third[static_cast<size_t>(h)])[lane]);
        d[8 + r][2 * c + h] = asFloat(w.row(i.third[static_cast<size_t>(2 + h)])[lane]);
      }
    }
  for (int r = 0; r < 16; r++)
    for (int k = 0; k < depth; k++)
      for (int c = 0; c < 8; c++) d[r][c] += a[r][k] * b[k][c];
  for (int r = 0; r < 8; r++)
    for (int c = 0; c < 4; c++)
      for (int h = 0; h < 2; h++) {
        w.row(i.to[static_cast<size_t>(h)])[r * 4 + c] = bitsOf(d[r][2 * c + h]);
        w.row(i.to[static_cast<size_t>(2 + h)])[r * 4 + c] = bitsOf(d[8 + r][2 * c + h]);
      }
}

}  // namespace

bool memoryAccess(BlockState& block, Warp& w, const Instruction& i, uint32_t mask) {
  switch (i.op) {
    case Op::load:
      load(block, w, i, mask, false);
      return true;
    case Op::store:
      load(block, w, i, mask, true);
      return true;
    case Op::copyAsync:
      copyAsync(block, w, i, mask);
      return true;
    case Op::atomicAdd:
      eachLane(mask, [&](int l) {
        const uint64_t address = w.row(i.operands[0])[l] + static_cast<uint64_t>(i.offset);
        auto* p = reinterpret_cast<uint32_t*>(resolve(block, i, Space::global, address, 4, true));
        const uint32_t before = *p;
        *p += static_cast<uint32_t>(w.row(i.operands[1])[l]);
        w.row(i.to[0])[l] = before;
      });
      return true;
    case Op::fence:
      return true;
    default:
      return false;
  }
}

bool together(BlockState& block, Warp& w, const Instruction& i, uint32_t mask) {
  // All live lanes must execute it together: the kernels name all lanes in their masks.
  if (mask != w.live) fault(i, "a warp-wide instruction in a diverged warp");
  switch (i.op) {
    case Op::warpBarrier:
      return true;
    case Op::commit:
      w.copies.emplace_back();
      return true;
    case Op::wait:
      while (w.copies.size() > static_cast<size_t>(i.target) + 1) {
        land(block, w.copies.front());
        w.copies.erase(w.copies.begin());
      }
      return true;
    case Op::vote: {
      uint32_t bits = 0;
      eachLane(mask, [&](int l) { bits |= (w.row(i.operands[0])[l] ? 1u : 0u) << l; });
      eachLane(mask, [&](int l) { w.row(i.to[0])[l] = i.code ? bits : bits != 0; });
      return true;
    }
    case Op::shuffle:
      shuffle(w, i, mask);
      return true;
    case Op::loadMatrix:
      loadMatrix(block, w, i);
      return true;
    case Op::mma:
      mma(w, i);
      return true;
    default:
      return false;
  }
}

}  // namespace emulator::ptx
