#include "tokenizer/pieces.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace clip::tokenizer {
void Pieces::reserve(size_t pieces, size_t bytes) {
  pieces = std::min<size_t>(pieces, kMostPieces);
  bytes_.reserve(bytes + 2 * pieces);
  starts_.reserve(pieces);
  if (pieces * 4 / 3 > slots_.size()) grow(std::bit_ceil(pieces * 4 / 3));
}

void Pieces::grow(size_t slots) {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
  const size_t mask = slots - 1;
  for (const Slot& one : old) {
    if (one.id == 0) continue;
    size_t slot = hash(spellingAt(one.start)) & mask;
    while (slots_[slot].id != 0) slot = (slot + 1) & mask;
    slots_[slot] = one;
  }
}

bool Pieces::put(std::string_view spelling, uint32_t id) {
  if ((static_cast<size_t>(count_) + 1) * 4 > slots_.size() * 3)
    grow(std::max<size_t>(1024, slots_.size() * 2));
  if (id >= starts_.size()) starts_.resize(static_cast<size_t>(id) + 1);
  const uint64_t h = hash(spelling);
  Slot& slot = slots_[slotOf(spelling, h)];
  const bool isNew = slot.id == 0 && starts_[id] == 0;
  count_ += slot.id == 0;
  bytes_.push_back(static_cast<char>(spelling.size() & 0xff));
  bytes_.push_back(static_cast<char>(spelling.size() >> 8 & 0xff));
  const auto start = static_cast<uint32_t>(bytes_.size());
  bytes_.append(spelling);
  starts_[id] = start;
  slot = {id + 1, start, tagOf(h)};
  return isNew;
}

void Pieces::prefetch(uint64_t hash) const {
  if (!slots_.empty()) fetch(&slots_[hash & (slots_.size() - 1)]);
}

void Pieces::prefetchSpelling(uint64_t hash) const {
  if (slots_.empty()) return;
  const Slot& slot = slots_[hash & (slots_.size() - 1)];
  if (slot.id != 0 && slot.tag == tagOf(hash)) fetch(bytes_.data() + slot.start - 2);
}

}  // namespace clip::tokenizer
