// Determines which lanes of which warp execute which instructions, and when.
#include <algorithm>

#include "ptx_warp.h"

namespace emulator::ptx {
namespace {

void start(Warp& w, const Kernel& k, const Grid& grid, unsigned warp, unsigned x, unsigned y, unsigned z) {
  w.rows.resize(static_cast<size_t>(k.rows));
  // registers that no instruction has written are NaN
  for (auto& row : w.rows) row.fill(0x7fc0dead7fc0deadull);
  for (const auto& [row, value] : k.constants) w.rows[static_cast<size_t>(row)].fill(value);
  const auto all = [&](Special s, unsigned v) { w.rows[static_cast<size_t>(k.special[s])].fill(v); };
  all(kNtidX, grid.threads);
  all(kCtaidX, x);
  all(kCtaidY, y);
  all(kCtaidZ, z);
  all(kNctaidX, grid.x);
  all(kNctaidY, grid.y);
  all(kNctaidZ, grid.z);
  for (unsigned l = 0; l < 32; l++) {
    w.row(k.special[kTidX])[l] = warp * 32 + l;
    w.row(k.special[kLaneId])[l] = l;
  }
  w.pc.fill(0);
  const unsigned lanes = std::min(32u, grid.threads - warp * 32);
  w.live = lanes == 32 ? 0xffffffffu : (1u << lanes) - 1;
  w.copies.assign(1, {});
}

// The lanes of `group` for which the instruction's guard predicate is true.
uint32_t guarded(Warp& w, const Instruction& i, uint32_t group) {
  if (i.guard < 0) return group;
  const uint64_t* guard = w.row(i.guard);
  uint32_t mask = 0;
  eachLane(group, [&](int l) { mask |= ((guard[l] != 0) != i.guardNegated ? 1u : 0u) << l; });
  return mask;
}

// Executes from `pc` on for the lanes of `group`, which are converged there, until they diverge, meet the
// others at `meeting`, end, or reach a barrier of the block; returns true in the last case.
bool advanceTogether(BlockState& block, Warp& w, int pc, uint32_t group, int meeting) {
  const auto& code = block.kernel->instructions;
  while (pc < meeting) {
    if (pc >= static_cast<int>(code.size())) throw std::runtime_error("ran past the end of the kernel");
    const Instruction& i = code[static_cast<size_t>(pc)];
    const uint32_t mask = guarded(w, i, group);
    *i.issued += 1;
    pc++;
    if (i.op == Op::branch) {
      if (mask == group) {
        pc = i.target;
      } else if (mask) {
        eachLane(group, [&](int l) { w.pc[static_cast<size_t>(l)] = mask >> l & 1 ? i.target : pc; });
        return false;
      }
    } else if (i.op == Op::end) {
      w.live &= ~mask;
      group &= ~mask;
      if (!group) return false;
    } else if (i.op == Op::barrier || i.op == Op::barrierVote) {
      if (mask != w.live) fault(i, "barrier in a diverged warp");
      w.pc.fill(pc);
      w.barrier = pc - 1;
      if (i.op == Op::barrierVote)
        eachLane(group, [&](int l) { w.barrierVote |= w.row(i.operands[0])[l] != 0; });
      return true;
    } else if (mask && !arithmetic(w, i, mask) && !memoryAccess(block, w, i, mask) &&
               !together(block, w, i, mask)) {
      fault(i, "no such instruction");
    }
  }
  eachLane(group, [&](int l) { w.pc[static_cast<size_t>(l)] = pc; });
  return false;
}

// Runs a warp to its end or to a barrier of the block. The lanes that are furthest behind go first.
void advance(BlockState& block, Warp& w) {
  w.barrier = -1;
  w.barrierVote = false;
  while (w.live) {
    int pc = INT32_MAX, meeting = INT32_MAX;
    uint32_t group = 0;
    eachLane(w.live, [&](int l) { pc = std::min(pc, w.pc[static_cast<size_t>(l)]); });
    eachLane(w.live, [&](int l) {
      const int at = w.pc[static_cast<size_t>(l)];
      if (at == pc)
        group |= 1u << l;
      else
        meeting = std::min(meeting, at);
    });
    if (advanceTogether(block, w, pc, group, meeting)) return;
  }
}

// Runs all warps to their ends, barrier by barrier.
void runBlock(BlockState& block, std::vector<Warp>& warps) {
  for (;;) {
    bool vote = false;
    for (Warp& w : warps) {
      advance(block, w);
      vote |= w.barrierVote;
    }
    const int barrier = warps[0].barrier;
    for (const Warp& w : warps)
      if (w.barrier != barrier) throw std::runtime_error("a barrier that not all warps reach");
    if (barrier < 0) break;
    const Instruction& i = block.kernel->instructions[static_cast<size_t>(barrier)];
    if (i.op == Op::barrierVote)
      for (Warp& w : warps) eachLane(w.live, [&](int l) { w.row(i.to[0])[l] = vote; });
  }
  for (const Warp& w : warps)
    for (const auto& group : w.copies)
      if (!group.empty()) throw std::runtime_error("kernel ended with cp.async under way");
}

}  // namespace

void run(const Kernel& kernel, const Grid& grid, const void* const* arguments) {
  BlockState block;
  block.kernel = &kernel;
  for (size_t i = 0; i < kernel.parameterBytes.size(); i++) {
    block.parameters.resize((block.parameters.size() + 7) / 8 * 8);
    const char* from = static_cast<const char*>(arguments[i]);
    block.parameters.insert(block.parameters.end(), from, from + kernel.parameterBytes[i]);
  }
  std::vector<Warp> warps((grid.threads + 31) / 32);
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) {
        block.shared.assign(grid.shared, static_cast<char>(0xff));
        block.initialised.assign(grid.shared, false);
        for (unsigned w = 0; w < warps.size(); w++) start(warps[w], kernel, grid, w, x, y, z);
        runBlock(block, warps);
      }
}

}  // namespace emulator::ptx
