#pragma once
// The contents of a vocabulary file, before a tokenizer is made from them.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/json.h"
#include "tokenizer/models.h"

namespace clip::tokenizer {

// The largest supported file. XLM-V's tokenizer.json has 61 MB.
constexpr size_t kMostBytes = size_t{192} << 20;

struct Contents {
  enum class Kind { unigram, bpe, wordPiece };
  std::string file;
  Kind kind = Kind::unigram;
  Pieces pieces;
  std::vector<double> scores;  // for Unigram
  Merges merges;               // for BPE
  // As given in the file. The class of the tokenizer decides which of these apply.
  int32_t unknownId = -1;
  std::string unknownToken;
  bool byteFallback = false, fuseUnknown = false, ignoreMerges = false;
  std::string continuingPrefix, endSuffix;
  uint32_t longestWord = 100;
  std::shared_ptr<const Charsmap> map;
  std::vector<AddedToken> added;
  // For tokenizer.json:
  Json normalizer, preTokenizer, postProcessor, decoder;
  // For SentencePiece:
  std::vector<Unigram::Kind> kinds;
  bool dummyPrefix = true, removeSpaces = true, escapeSpaces = true, spaceAsSuffix = false;
};

// The charsmap of a normalizer of type Precompiled.
std::shared_ptr<const Charsmap> readCharsmap(const Json& step, const std::string& file,
                                             const std::string& field);

Contents readTokenizerJson(std::string_view bytes, const std::string& file);
// Reads vocab.json and merges.txt of byte-level byte pair encoding.
Contents readVocabularyAndMerges(std::string_view vocabulary, const std::string& file,
                                 std::string_view merges, const std::string& mergesFile);
// Reads a SentencePiece model. For byte pair encoding, the merges are derived as in Hugging Face's libraries.
Contents readSentencePiece(std::string_view bytes, const std::string& file);
// Reads vocab.txt, which has one piece per line.
Contents readLines(std::string_view bytes, const std::string& file);

}  // namespace clip::tokenizer
