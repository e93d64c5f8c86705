#include "tokenizer/trie.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace clip::tokenizer {

void Trie::reserve(size_t nodes) {
  values_.reserve(nodes);
  if (nodes * 4 / 3 > edges_.size()) grow(std::bit_ceil(nodes * 4 / 3));
}

void Trie::grow(size_t slots) {
  const std::vector<Edge> old = std::exchange(edges_, std::vector<Edge>(slots));
  for (const Edge& edge : old)
    if (edge.child != 0) edges_[slotOf(edge.node, edge.symbol)] = edge;
}

uint32_t Trie::add(uint32_t node, uint32_t symbol) {
  if (values_.size() * 4 > edges_.size() * 3) grow(std::max<size_t>(64, edges_.size() * 2));
  Edge& edge = edges_[slotOf(node, symbol)];
  if (edge.child == 0) {
    edge = {node, symbol, static_cast<uint32_t>(values_.size())};
    values_.push_back(-1);
  }
  return edge.child;
}

}  // namespace clip::tokenizer
