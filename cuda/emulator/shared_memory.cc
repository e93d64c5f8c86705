#include "shared_memory.h"

namespace emulator {
namespace {

// Whether an earlier access of `thread` (plus 1) is not ordered before the access of the running thread.
bool unordered(unsigned thread, uint32_t epoch, uint32_t warpEpoch) {
  if (thread == 0 || thread - 1 == self->linear || epoch != block.epoch) return false;
  return (thread - 1) / 32 != self->warp || warpEpoch == block.warpEpoch[self->warp];
}

bool readUnordered(const Shadow& s) {
  if (s.readers == 0) return unordered(s.reader, s.readEpoch, s.readWarpEpoch);
  if (s.readEpoch != block.epoch) return false;
  return s.readers == 2 || (s.reader - 1u) / 32 != self->warp ||
         s.readWarpEpoch == block.warpEpoch[self->warp];
}

void written(Shadow& s, int line, const char* what) {
  if (readUnordered(s))
    report(line, "race: %s of a byte read by another thread since the last barrier", what);
  s.writer = static_cast<uint16_t>(self->linear + 1);
  s.writeEpoch = block.epoch;
  s.writeWarpEpoch = block.warpEpoch[self->warp];
  s.initialised = 1;
  s.pending = 0;
}

void readBy(Shadow& s, int line, const char* what) {
  const unsigned me = self->linear + 1;
  if (s.pending)
    report(line, "%s of cp.async data before wait_group and a barrier", what);
  else if (!s.initialised)
    report(line, "%s of uninitialised shared memory", what);
  if (s.readEpoch != block.epoch || !s.reader)
    s.readers = 0;
  else if (s.reader != me)
    s.readers = s.readers == 2 || (s.reader - 1u) / 32 != self->warp ? 2 : 1;
  s.reader = static_cast<uint16_t>(me);
  s.readEpoch = block.epoch;
  s.readWarpEpoch = block.warpEpoch[self->warp];
}

// Completes one group of copies.
void land(const std::vector<Copy>& group) {
  for (const Copy& c : group)
    for (uint32_t i = 0; i < c.size; i++) {
      Shadow& s = block.shadow[c.to + i];
      s.pending = 0;
      s.initialised = 1;
      s.writer = static_cast<uint16_t>(self->linear + 1);
      s.writeEpoch = block.epoch;
      s.writeWarpEpoch = block.warpEpoch[self->warp];
      block.memory[c.to + i] = i < c.bytes ? static_cast<const char*>(c.source)[i] : 0;
    }
}

}  // namespace

bool touch(uint32_t at, uint32_t bytes, uint32_t low, uint32_t high, bool write, int line, const char* what) {
  if (at < low || at + bytes > high || at + bytes > block.bytes) {
    report(line, "%s out of bounds of its shared array", what);
    return false;
  }
  if (!options.check) return true;
  for (uint32_t i = at; i < at + bytes; i++) {
    Shadow& s = block.shadow[i];
    if (unordered(s.writer, s.writeEpoch, s.writeWarpEpoch))
      report(line, "race: %s of a byte written by another thread since the last barrier", what);
    if (write)
      written(s, line, what);
    else
      readBy(s, line, what);
  }
  return true;
}

void copyAsync(SharedAddress to, const void* source, uint32_t size, uint32_t bytes, int line) {
  if (to.at % size || reinterpret_cast<uintptr_t>(source) % size)
    report(line, "cp.async address not aligned to %u", size);
  if (bytes > size) report(line, "cp.async of %u bytes into %u", bytes, size);
  if (!touch(to.at, size, to.low, to.high, true, line, "cp.async write")) return;
  counters.copiedBytes += size;
  const Copy copy{to.at, size, bytes, source};
  if (options.copiesLandEarly)
    land({copy});
  else
    std::memset(block.memory + to.at, 0xff, size);
  // Whether the copy completes early or late, no thread may read the data before the wait.
  for (uint32_t i = 0; i < size; i++) {
    block.shadow[to.at + i].pending = 1;
    block.shadow[to.at + i].initialised = 0;
  }
  self->copies.back().push_back(copy);
}

void commitCopies() { self->copies.emplace_back(); }

void waitForCopies(unsigned keep, int line) {
  if (!synchronises(kWait, line)) return;
  auto& groups = self->copies;
  while (groups.size() > keep + 1) {
    land(groups.front());
    groups.erase(groups.begin());
  }
}

}  // namespace emulator
