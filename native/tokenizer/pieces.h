#pragma once
// The pieces of a vocabulary: their spellings stored contiguously, and a hash table from spelling to id. A
// search in a large vocabulary costs two cache misses (the slot and the spelling). Several searches can
// overlap them by calling hash, prefetch, prefetchSpelling and find in turn.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/hash.h"

namespace clip::tokenizer {

// Limit of ids, and therefore of the number of pieces.
constexpr uint32_t kMostPieces = 4'000'000;
// Limit of the length of a spelling, in bytes.
constexpr size_t kLongestPiece = 65'535;

class Pieces {
 public:
  // Reserves memory for this number of pieces and this number of bytes of their spellings.
  void reserve(size_t pieces, size_t bytes);
  // Assigns this id, which must be below kMostPieces, to a spelling of at most kLongestPiece bytes. If an id
  // or a spelling is given twice, the last one counts. Returns false if the spelling or the id was given
  // before.
  bool put(std::string_view spelling, uint32_t id);

  // Returns -1 if no piece has this spelling.
  int64_t find(std::string_view spelling) const { return find(spelling, hash(spelling)); }
  uint64_t hash(std::string_view spelling) const { return hashOf(spelling, seed_); }
  int64_t find(std::string_view spelling, uint64_t hash) const {
    return slots_.empty() ? -1 : static_cast<int64_t>(slots_[slotOf(spelling, hash)].id) - 1;
  }
  void prefetch(uint64_t hash) const;
  void prefetchSpelling(uint64_t hash) const;

  // Whether there is a piece with this id.
  bool has(uint32_t id) const { return id < starts_.size() && starts_[id] != 0; }
  std::string_view at(uint32_t id) const { return spellingAt(starts_[id]); }
  // The largest id plus one.
  uint32_t size() const { return static_cast<uint32_t>(starts_.size()); }
  // The number of spellings.
  uint32_t count() const { return count_; }

 private:
  struct Slot {
    uint32_t id = 0;  // the id plus one; 0 marks an empty slot
    uint32_t start = 0;
    uint32_t tag = 0;  // part of the hash, so that other spellings are rarely compared
  };
  static uint32_t tagOf(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }
  // Each spelling is preceded by its length in two bytes.
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
  std::vector<uint32_t> starts_;  // by id; 0 if there is no such piece
  std::vector<Slot> slots_;
  uint32_t count_ = 0;
  uint64_t seed_ = hashSeed();
};

}  // namespace clip::tokenizer
