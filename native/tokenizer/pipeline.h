#pragma once
// The processing of a text before its words are passed to the model: normalizers, then pre-tokenizers. Each
// step has a name in tokenizer.json.
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tokenizer/charsmap.h"
#include "tokenizer/unicode.h"

namespace clip::tokenizer {

// ---- Normalizers: change a text.

struct Precompiled {
  std::shared_ptr<const Charsmap> map;
};
struct Lowercase {};
struct Normalization {
  Normal form;
};
// Replaces every occurrence of a string.
struct Replace {
  std::string from, to;
};
// Replaces every run of two or more of a character.
struct ReplaceRuns {
  std::string of, to;
};
struct Prepend {
  std::string text;
};
struct Strip {
  bool left, right;
};
struct BertNormalizer {
  bool clean, ideographs, accents, lowercase;
};
// SentencePiece's own normalizer: applies its charsmap (if any), removes superfluous spaces, adds one at the
// beginning, and replaces every space by a mark.
struct SentencePieceNormalizer {
  std::shared_ptr<const Charsmap> map;
  bool dummyPrefix, removeSpaces, escapeSpaces;
  std::vector<std::string> userDefined;  // left unchanged
};
using Normalizer = std::variant<Precompiled, Lowercase, Normalization, Replace, ReplaceRuns, Prepend, Strip,
                                BertNormalizer, SentencePieceNormalizer>;

std::string normalize(const Normalizer& step, std::string text);
// Whether the result of the step begins with the beginning of the text.
bool keepsStart(const Normalizer& step, std::string_view text);

// ---- Pre-tokenizers: split parts of a text into smaller parts.

struct WhitespaceSplit {};
struct Metaspace {
  enum class Prefix { always, first, never };
  std::string replacement;
  Prefix prefix;
  bool split;
};
// Splits at every occurrence of a string.
struct Split {
  enum class Keep { removed, isolated, withPrevious, withNext, contiguous };
  std::string at;
  Keep keep;
};
struct BertPreTokenizer {};
struct ByteLevel {
  bool prefixSpace, split;
};
using PreTokenizer = std::variant<WhitespaceSplit, Metaspace, Split, BertPreTokenizer, ByteLevel>;

struct Word {
  std::string text;
  bool first;  // whether it is at the beginning of the whole text
};
std::vector<Word> preTokenize(const PreTokenizer& step, std::vector<Word> words);

// The character that stands for a byte in a byte-level vocabulary, in UTF-8.
const std::string& symbolOfByte(unsigned char byte);
// Returns -1 if the character does not stand for a byte.
int byteOfSymbol(char32_t symbol);

}  // namespace clip::tokenizer
