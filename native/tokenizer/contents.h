#pragma once
// What a vocabulary's file holds, before it becomes a tokenizer.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/json.h"
#include "tokenizer/models.h"

namespace clip::tokenizer {

// The largest file that is read: XLM-V's tokenizer.json has 61 MB.
constexpr size_t kMostBytes = size_t{192} << 20;

struct Contents {
  enum class Kind { unigram, bpe, wordPiece };
  std::string file;
  Kind kind = Kind::unigram;
  Pieces pieces;
  std::vector<double> scores;  // Unigram
  Merges merges;               // BPE
  // As the file says; which of it counts is the class's decision.
  int32_t unknownId = -1;
  std::string unknownToken;
  bool byteFallback = false, fuseUnknown = false, ignoreMerges = false;
  std::string continuingPrefix, endSuffix;
  uint32_t longestWord = 100;
  std::shared_ptr<const Charsmap> map;
  std::vector<AddedToken> added;
  // tokenizer.json
  Json normalizer, preTokenizer, postProcessor, decoder;
  // SentencePiece
  std::vector<Unigram::Kind> kinds;
  bool dummyPrefix = true, removeSpaces = true, escapeSpaces = true, spaceAsSuffix = false;
};

// Of a normalizer of type Precompiled.
std::shared_ptr<const Charsmap> readCharsmap(const Json& step, const std::string& file,
                                             const std::string& field);

Contents readTokenizerJson(std::string_view bytes, const std::string& file);
// vocab.json and merges.txt of byte-level byte pair encoding.
Contents readVocabularyAndMerges(std::string_view vocabulary, const std::string& file,
                                 std::string_view merges, const std::string& mergesFile);
// SentencePiece's model. Of byte pair encoding, its merges are derived as Hugging Face derives them.
Contents readSentencePiece(std::string_view bytes, const std::string& file);
// vocab.txt: a piece a line.
Contents readLines(std::string_view bytes, const std::string& file);

}  // namespace clip::tokenizer
