#pragma once
// All texts of one call as a prefix trie of tokens. A node is computed only once, however many texts pass
// through it: its attention sees only itself and its ancestors, and its position is its depth. So "a photo of
// a" costs five rows for a thousand labels, and the result has the same bits as each text computed alone. If
// a row sees the whole text, each distinct text is a path of its own.
#include <cstdint>
#include <vector>

namespace clip {

constexpr int kTrieRows = 8192;  // maximal number of rows of a chunk, which bounds the memory of a call

// A part of the trie that goes through the tower at once: the texts order[firstText .. firstText + texts),
// with nodes in depth-first order, so that parent[r] < r and the children of a node follow it. The path above
// the chunk's first text is part of the chunk and is computed again in each chunk.
struct TrieChunk {
  std::vector<int32_t> ids, position, parent;  // per row; parent -1 at a root
  std::vector<int32_t> first;                  // per row: its root
  std::vector<int32_t> end;                    // per text: the row of its last token
  int firstText = 0, texts = 0;
  int repeated = 0;  // rows of the path above the first text that an earlier chunk has already computed
  // Whether no row has two children, so that the plain causal mask gives the same result.
  bool plain = true;

  int rows() const { return static_cast<int>(ids.size()); }
};

class TokenTrie {
 public:
  // ids: all texts one after the other; text i has lengths[i] tokens, at least 1. Both must outlive the trie.
  // Without sharesPrefixes, only equal texts share their rows. A chunk has at most `maxRows` rows, or a
  // single text.
  TokenTrie(const int32_t* ids, const int32_t* lengths, int texts, bool sharesPrefixes,
            int maxRows = kTrieRows);

  // Stores the next chunk in `chunk`; returns false after the last one.
  bool next(TrieChunk& chunk);

  // order()[i] is the index of the caller's text that comes i-th in the chunks.
  const std::vector<int32_t>& order() const { return order_; }

 private:
  struct Text {
    const int32_t* ids;
    int32_t length;
  };
  int shared(const Text& a, const Text& b) const;

  std::vector<Text> texts_;  // in the caller's order
  std::vector<int32_t> order_;
  const bool sharesPrefixes_;
  const int maxRows_;
  int next_ = 0;
};

}  // namespace clip
