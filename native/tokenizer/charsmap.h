#pragma once
// SentencePiece's precompiled normalization: a double-array trie of spellings, and what replaces them.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace clip::tokenizer {

class Charsmap {
 public:
  // `blob`: the trie's length in bytes, its units, and the replacements, each ended by a zero byte. `file` and
  // `field` are for messages.
  Charsmap(std::string_view blob, const std::string& file, const std::string& field);

  // As SentencePiece replaces: of all spellings at `at` the longest, as often as there is one. `at` moves
  // behind what was taken, which is a character when there is no spelling.
  std::string_view nextLongest(std::string_view text, size_t& at) const;

  // As tokenizers replaces: grapheme clusters of less than six bytes whole, others character by character; of all
  // spellings the shortest, and what is behind it is dropped.
  std::string replaceClusters(std::string_view text) const;

 private:
  // Each spelling at the beginning of a text, the shortest first: each(its length, where its replacement is).
  template <class F>
  void spellings(std::string_view text, F each) const;
  // Of the first spelling in a part of a text. False: there is none.
  bool appendFirst(std::string& out, std::string_view part) const;
  std::string_view replacement(uint32_t at) const;

  std::vector<uint32_t> units_;
  std::string texts_;
};

}  // namespace clip::tokenizer
