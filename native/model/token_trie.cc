#include "model/token_trie.h"

#include <algorithm>
#include <numeric>

namespace clip {

TokenTrie::TokenTrie(const int32_t* ids, const int32_t* lengths, int texts, bool sharesPrefixes, int maxRows)
    : texts_(texts), order_(texts), sharesPrefixes_(sharesPrefixes), maxRows_(maxRows) {
  for (int i = 0; i < texts; i++) {
    texts_[i] = {ids, lengths[i]};
    ids += lengths[i];
  }
  // In lexicographic order a text shares its longest prefix with the text before it, which gives the trie in
  // depth-first order.
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    const Text &x = texts_[a], &y = texts_[b];
    return std::lexicographical_compare(x.ids, x.ids + x.length, y.ids, y.ids + y.length);
  });
}

int TokenTrie::shared(const Text& a, const Text& b) const {
  const int n = std::min(a.length, b.length);
  int i = 0;
  while (i < n && a.ids[i] == b.ids[i]) i++;
  return sharesPrefixes_ || (i == a.length && i == b.length) ? i : 0;
}

bool TokenTrie::next(TrieChunk& chunk) {
  chunk = {};
  chunk.firstText = next_;
  if (next_ > 0 && next_ < static_cast<int>(order_.size()))
    chunk.repeated = shared(texts_[order_[next_ - 1]], texts_[order_[next_]]);
  std::vector<int32_t> path;  // the rows of the previous text, by depth
  const Text* before = nullptr;
  for (; next_ < static_cast<int>(order_.size()); next_++) {
    const Text& text = texts_[order_[next_]];
    const int kept = before ? shared(*before, text) : 0;
    if (before && chunk.rows() + text.length - kept > maxRows_) break;
    path.resize(kept);
    for (int depth = kept; depth < text.length; depth++) {
      const int32_t row = chunk.rows(), parent = depth > 0 ? path.back() : -1;
      if (parent >= 0 && parent != row - 1) chunk.plain = false;
      chunk.ids.push_back(text.ids[depth]);
      chunk.position.push_back(depth);
      chunk.parent.push_back(parent);
      chunk.first.push_back(depth > 0 ? path.front() : row);
      path.push_back(row);
    }
    chunk.end.push_back(path.back());
    chunk.texts++;
    before = &text;
  }
  return chunk.texts > 0;
}

}  // namespace clip
