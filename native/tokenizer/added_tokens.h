#pragma once
// Tokens that are found in a text before it is split into words. Like Hugging Face's tokenizers, it finds the
// leftmost token and, of several that begin there, the longest.
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/trie.h"

namespace clip::tokenizer {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool singleWord = false;  // matches only if no word character is next to it
  bool lstrip = false;      // includes the white space before it
  bool rstrip = false;      // includes the white space after it
  bool normalized = true;   // searched for in the normalized text
  bool special = false;
};

class AddedTokens {
 public:
  // A part of a text, or a token found in it (id >= 0).
  struct Part {
    std::string_view text;
    int32_t id = -1;
  };

  // If several tokens have the same spelling, the first one counts.
  void add(std::string_view spelling, const AddedToken& token);
  // Splits the text into parts, in order. Without tokens, the whole text is one part.
  std::vector<Part> split(std::string_view text) const;
  bool empty() const { return tokens_.empty(); }

 private:
  std::vector<AddedToken> tokens_;
  Trie trie_;
  std::array<bool, 256> begins_{};  // whether any token begins with this byte
};

}  // namespace clip::tokenizer
