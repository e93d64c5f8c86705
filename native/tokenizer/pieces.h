#pragma once
// The pieces of a vocabulary: their spellings one after the other, and a table from spelling to id. A search in a
// large vocabulary is two cache misses (the slot, the spelling), which many searches can wait for together: hash,
// prefetch, prefetchSpelling, find.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/hash.h"

namespace clip::tokenizer {

// Of ids, and so of pieces.
constexpr uint32_t kMostPieces = 4'000'000;
// Bytes of a spelling.
constexpr size_t kLongestPiece = 65'535;

class Pieces {
 public:
  // Room for this many pieces, and bytes of their spellings.
  void reserve(size_t pieces, size_t bytes);
  // Gives a spelling of at most kLongestPiece bytes this id, which must be below kMostPieces. Of ids that are given
  // twice, or spellings that are, the last one counts; false where it was given before.
  bool put(std::string_view spelling, uint32_t id);

  // -1: no piece is spelt so.
  int64_t find(std::string_view spelling) const { return find(spelling, hash(spelling)); }
  uint64_t hash(std::string_view spelling) const { return hashOf(spelling, seed_); }
  int64_t find(std::string_view spelling, uint64_t hash) const {
    return slots_.empty() ? -1 : static_cast<int64_t>(slots_[slotOf(spelling, hash)].id) - 1;
  }
  void prefetch(uint64_t hash) const;
  void prefetchSpelling(uint64_t hash) const;

  // Whether the id is a piece's.
  bool has(uint32_t id) const { return id < starts_.size() && starts_[id] != 0; }
  std::string_view at(uint32_t id) const { return spellingAt(starts_[id]); }
  // One more than the largest id.
  uint32_t size() const { return static_cast<uint32_t>(starts_.size()); }
  // How many spellings there are.
  uint32_t count() const { return count_; }

 private:
  struct Slot {
    uint32_t id = 0;  // one more than it is; 0 is empty
    uint32_t start = 0;
    uint32_t tag = 0;  // of the hash, so that hardly any other spelling is looked at
  };
  static uint32_t tagOf(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }
  // Two bytes of length are before each spelling.
  std::string_view spellingAt(uint32_t start) const {
    const auto byte = [&](uint32_t i) { return static_cast<size_t>(static_cast<unsigned char>(bytes_[i])); };
    return {bytes_.data() + start, byte(start - 2) | byte(start - 1) << 8};
  }
  size_t slotOf(std::string_view spelling, uint64_t hash) const {
    const size_t mask = slots_.size() - 1;
    size_t slot = hash & mask;
    while (slots_[slot].id != 0 &&
           (slots_[slot].tag != tagOf(hash) || spellingAt(slots_[slot].start) != spelling))
      slot = (slot + 1) & mask;
    return slot;
  }
  void grow(size_t slots);

  std::string bytes_;
  std::vector<uint32_t> starts_;  // by id; 0 where there is none
  std::vector<Slot> slots_;
  uint32_t count_ = 0;
  uint64_t seed_ = hashSeed();
};

}  // namespace clip::tokenizer
