#pragma once
// SentencePiece's precompiled normalization: a double-array trie of spellings, and their replacements.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace clip::tokenizer {

class Charsmap {
 public:
  // `blob`: the length of the trie in bytes, its units, and the replacements, each terminated by a zero byte.
  // `file` and `field` are for messages.
  Charsmap(std::string_view blob, const std::string& file, const std::string& field);

  // Replaces like SentencePiece: at each position the longest spelling. `at` moves past what was replaced, or
  // past one character if no spelling matches.
  std::string_view nextLongest(std::string_view text, size_t& at) const;

  // Replaces like the library tokenizers: grapheme clusters of less than six bytes as a whole, others
  // character by character. It uses the shortest matching spelling and drops the rest of the cluster or
  // character.
  std::string replaceClusters(std::string_view text) const;

 private:
  // Calls each(length, position of the replacement) for each spelling at the beginning of a text, the
  // shortest first.
  template <class F>
  void spellings(std::string_view text, F each) const;
  // Appends the replacement of the shortest spelling at the beginning of a part of a text. Returns false if
  // there is none.
  bool appendFirst(std::string& out, std::string_view part) const;
  std::string_view replacement(uint32_t at) const;

  std::vector<uint32_t> units_;
  std::string texts_;
};

}  // namespace clip::tokenizer
