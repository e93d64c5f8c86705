#pragma once
// What happens to a text before its words reach the model: normalizers, then pre-tokenizers, each a step with a
// name of tokenizer.json.
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tokenizer/charsmap.h"
#include "tokenizer/unicode.h"

namespace clip::tokenizer {

// ---- Normalizers: from a text to a text.

struct Precompiled {
  std::shared_ptr<const Charsmap> map;
};
struct Lowercase {};
struct Normalization {
  Normal form;
};
// Every occurrence of a string.
struct Replace {
  std::string from, to;
};
// Every run of two or more of a character.
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
// SentencePiece's own: its charsmap (or none), spaces cut, one at the beginning, and a mark for each.
struct SentencePieceNormalizer {
  std::shared_ptr<const Charsmap> map;
  bool dummyPrefix, removeSpaces, escapeSpaces;
  std::vector<std::string> userDefined;  // taken as they are
};
using Normalizer = std::variant<Precompiled, Lowercase, Normalization, Replace, ReplaceRuns, Prepend, Strip,
                                BertNormalizer, SentencePieceNormalizer>;

std::string normalize(const Normalizer& step, std::string text);
// Whether what the step makes of a text begins with what the text begins with.
bool keepsStart(const Normalizer& step, std::string_view text);

// ---- Pre-tokenizers: from parts of a text to smaller parts.

struct WhitespaceSplit {};
struct Metaspace {
  enum class Prefix { always, first, never };
  std::string replacement;
  Prefix prefix;
  bool split;
};
// At every occurrence of a string.
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
  bool first;  // whether it begins where the whole text begins
};
std::vector<Word> preTokenize(const PreTokenizer& step, std::vector<Word> words);

// The character of each byte in a byte-level vocabulary, in UTF-8.
const std::string& symbolOfByte(unsigned char byte);
// -1: the character stands for no byte.
int byteOfSymbol(char32_t symbol);

}  // namespace clip::tokenizer
