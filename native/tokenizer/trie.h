#pragma once
// A trie whose edges are in one hash table: it is fast to build from any number of spellings in any order.
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/hash.h"

namespace clip::tokenizer {

class Trie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = UINT32_MAX;

  // A symbol is a byte or a character, depending on the owner.
  uint32_t child(uint32_t node, uint32_t symbol) const {
    if (edges_.empty()) return kNone;
    const Edge& edge = edges_[slotOf(node, symbol)];
    return edge.child == 0 ? kNone : edge.child;
  }
  uint32_t add(uint32_t node, uint32_t symbol);
  // Returns -1 if no spelling ends at this node.
  int32_t value(uint32_t node) const { return values_[node]; }
  void setValue(uint32_t node, int32_t value) { values_[node] = value; }
  void reserve(size_t nodes);

 private:
  // The root is not a child of any node, so child 0 marks an empty slot.
  struct Edge {
    uint32_t node = 0, symbol = 0, child = 0;
  };
  size_t slotOf(uint32_t node, uint32_t symbol) const {
    const size_t mask = edges_.size() - 1;
    size_t slot = mixed((static_cast<uint64_t>(node) << 32 | symbol) ^ seed_) & mask;
    while (edges_[slot].child != 0 && (edges_[slot].node != node || edges_[slot].symbol != symbol))
      slot = (slot + 1) & mask;
    return slot;
  }
  void grow(size_t slots);

  std::vector<Edge> edges_;
  std::vector<int32_t> values_{-1};
  uint64_t seed_ = hashSeed();
};

}  // namespace clip::tokenizer
