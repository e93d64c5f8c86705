#pragma once
// The models of the original tokenizers. They convert a word to ids; for Unigram and byte pair encoding, a
// word may be a whole text.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/pieces.h"
#include "tokenizer/trie.h"

namespace clip::tokenizer {

using Ids = std::vector<int32_t>;

class Model {
 public:
  virtual ~Model() = default;
  // Appends the ids of a word, which must not be empty. `special`: special tokens may be among them.
  virtual void encode(std::string_view word, bool special, Ids& out) const = 0;

  Pieces pieces;
  // The ids of the pieces <0x00> to <0xFF>; -1 if there is no such piece.
  std::array<int32_t, 256> byteIds{};
  // -1 if there is none.
  int32_t unknownId = -1;
  // By id. Unigram's vocabularies list the spellings of special tokens among the others.
  std::vector<bool> specials;

 protected:
  void findByteIds();
};

class Unigram : public Model {
 public:
  // How a piece is used. Only SentencePiece's own reading distinguishes the kinds; otherwise every piece is
  // normal.
  enum class Kind : uint8_t { normal = 1, unknown, control, userDefined, unused, byte };
  struct Options {
    bool byteFallback = false;
    // Whether scores are added as in SentencePiece: in float32, and only for normal pieces.
    bool sentencePiece = false;
    std::vector<Kind> kinds;  // for SentencePiece
  };
  Unigram(Pieces pieces, std::vector<double> scores, int32_t unknownId, Options options);
  void encode(std::string_view word, bool special, Ids& out) const override;

 private:
  template <class Score>
  void best(std::string_view word, bool special, Ids& out) const;
  void putUnknown(std::string_view spelling, bool special, Ids& out) const;
  bool isSpecial(int64_t id) const {
    return static_cast<size_t>(id) < specials.size() && specials[static_cast<size_t>(id)];
  }

  Trie trie_;
  std::vector<double> scores_;
  double least_ = 0, most_ = 0;
  Options options_;
};

// The pairs that can be merged, each with its rank and the piece that it becomes.
class Merges {
 public:
  struct Merge {
    uint64_t pair = UINT64_MAX;
    uint32_t rank = 0, merged = 0;
  };
  void reserve(size_t merges);
  // If a pair is given twice, the last rank counts.
  void put(uint32_t left, uint32_t right, uint32_t rank, uint32_t merged);
  void prefetch(uint32_t left, uint32_t right) const;
  // Returns nullptr if the pair cannot be merged.
  const Merge* find(uint32_t left, uint32_t right) const {
    if (slots_.empty()) return nullptr;
    const Merge& merge = slots_[slotOf(static_cast<uint64_t>(left) << 32 | right)];
    return merge.pair == UINT64_MAX ? nullptr : &merge;
  }
  size_t size() const { return count_; }
  // In no particular order.
  template <class F>
  void each(F visit) const {
    for (const Merge& merge : slots_)
      if (merge.pair != UINT64_MAX) visit(merge);
  }

 private:
  size_t slotOf(uint64_t pair) const {
    const size_t mask = slots_.size() - 1;
    size_t slot = mixed(pair ^ seed_) & mask;
    while (slots_[slot].pair != UINT64_MAX && slots_[slot].pair != pair) slot = (slot + 1) & mask;
    return slot;
  }
  void grow(size_t slots);
  std::vector<Merge> slots_;
  size_t count_ = 0;
  uint64_t seed_ = hashSeed();
};

class Bpe : public Model {
 public:
  struct Options {
    bool byteFallback = false, fuseUnknown = false, ignoreMerges = false;
    std::string continuingPrefix, endSuffix;
  };
  Bpe(Pieces pieces, Merges merges, int32_t unknownId, Options options);
  void encode(std::string_view word, bool special, Ids& out) const override;

 private:
  struct Symbol {
    uint32_t id;
    int32_t before, after;  // -1 if there is none
    bool gone;
  };
  void split(std::string_view word, std::vector<Symbol>& symbols) const;

  Merges merges_;
  Options options_;
};

class WordPiece : public Model {
 public:
  WordPiece(Pieces pieces, int32_t unknownId, std::string continuingPrefix, uint32_t longest);
  void encode(std::string_view word, bool special, Ids& out) const override;

 private:
  std::string prefix_;
  uint32_t longest_;
};

}  // namespace clip::tokenizer
