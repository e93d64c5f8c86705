#pragma once
// Tokens that are found in a text before it is cut into words: of the leftmost ones the longest, as Hugging Face's
// tokenizers find them.
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/trie.h"

namespace clip::tokenizer {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool singleWord = false;  // only between characters that are not of words
  bool lstrip = false;      // with the white space before it
  bool rstrip = false;      // and behind it
  bool normalized = true;   // found in the normalized text
  bool special = false;
};

class AddedTokens {
 public:
  // A part of a text, or the token that was found there (id >= 0).
  struct Part {
    std::string_view text;
    int32_t id = -1;
  };

  // Of tokens with one spelling, the first counts.
  void add(std::string_view spelling, const AddedToken& token);
  // Parts of the text in order; without tokens the text is one part.
  std::vector<Part> split(std::string_view text) const;
  bool empty() const { return tokens_.empty(); }

 private:
  std::vector<AddedToken> tokens_;
  Trie trie_;
  std::array<bool, 256> begins_{};  // whether a token begins with this byte
};

}  // namespace clip::tokenizer
