#pragma once
// All texts of one call as a prefix trie of tokens. A node is computed once, however many texts run through
// it: its attention looks only at itself and its ancestors, its position is its depth. So "a photo of a"
// costs five rows for a thousand labels, and the result has the bits of each text alone. Where a row sees the
// whole text, each text that differs is a path of its own.
#include <cstdint>
#include <vector>

namespace clip {

constexpr int kTrieRows = 8192;  // rows of a chunk at most: what bounds the memory of a call

// A part of the trie that goes through the tower at once: the texts order[firstText .. firstText + texts),
// nodes in depth-first order, so that parent[r] < r and the children of a node follow it. The path above the
// chunk's first text is part of it: computed again, chunk by chunk.
struct TrieChunk {
  std::vector<int32_t> ids, position, parent;  // per row; parent -1 at a root
  std::vector<int32_t> first;                  // per row: the root above it
  std::vector<int32_t> end;                    // per text: the row of its last token
  int firstText = 0, texts = 0;
  int repeated = 0;  // rows of the path above the first text that an earlier chunk had computed
  // No row has two children: the plain causal mask says the same.
  bool plain = true;

  int rows() const { return static_cast<int>(ids.size()); }
};

class TokenTrie {
 public:
  // ids: all texts one after the other, lengths[i] tokens each, at least 1. Both must outlive the trie.
  // Without sharesPrefixes only texts that are equal share their rows. A chunk has at most `maxRows` rows, or
  // one text.
  TokenTrie(const int32_t* ids, const int32_t* lengths, int texts, bool sharesPrefixes,
            int maxRows = kTrieRows);

  // The next chunk in `chunk`; false after the last one.
  bool next(TrieChunk& chunk);

  // Which of the caller's texts comes i-th in the chunks.
  const std::vector<int32_t>& order() const { return order_; }

 private:
  struct Text {
    const int32_t* ids;
    int32_t length;
  };
  int shared(const Text& a, const Text& b) const;

  std::vector<Text> texts_;  // the caller's order
  std::vector<int32_t> order_;
  const bool sharesPrefixes_;
  const int maxRows_;
  int next_ = 0;
};

}  // namespace clip
