#pragma once
// Converts texts to ids and back, as a class of transformers does with a vocabulary.
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/contents.h"
#include "tokenizer/pipeline.h"

namespace clip::tokenizer {

// The tokenizer classes of transformers 5, each of which has its own pipeline; `generic` follows
// tokenizer.json.
enum class Class { t5, siglip, xlmRoberta, gemma, siglip2, nllb, bert, roberta, generic };

// The settings in tokenizer_config.json, if given, and the requirements of the model family.
struct Settings {
  Class like = Class::generic;
  std::optional<bool> lowercase, ideographs, accents, prefixSpace, startsWithBos, endsWithEos;
  bool legacyLanguage = false;
  std::string language;
  // The names of special tokens: those of the class, unless the file gives others.
  std::string bos, eos, unk, sep, pad, cls, mask;
  // The tokens listed in tokenizer_config.json; they replace those of tokenizer.json.
  bool hasAdded = false;
  std::vector<AddedToken> added;
  // Additional special tokens, in the order in which they get ids if they are missing from the vocabulary.
  std::vector<std::string> extra;
};

class Tokenizer {
 public:
  Tokenizer(Contents contents, const Settings& settings);

  // Appends the ids of a text in UTF-8, without the tokens at the beginning and the end of every text.
  // `special`: whether tokens spelled out in the text are recognised.
  void encode(std::string_view text, bool special, Ids& out) const;
  // The text of ids, all of which must be valid (isId).
  std::string decode(const int32_t* ids, size_t count) const;
  bool isId(int32_t id) const;

  const char* kind = "";  // of the model, for messages
  Ids prefix, suffix;     // at the beginning and the end of every text
  int32_t padId = 0, sepId = -1, eosId = -1, unkId = -1;
  // The largest id in the file plus one.
  uint32_t size = 0;

 private:
  void build(Contents contents, const Settings& settings);
  int32_t idOf(const std::string& token) const;  // -1 if there is none
  int32_t needed(const std::string& token, const std::string& what) const;
  void readNormalizer(const Json& step, const std::string& field);
  void readPreTokenizer(const Json& step, const std::string& field);
  void readPostProcessor(const Json& step, const std::string& field);
  void readDecoder(const Json& step, const std::string& field);
  const Json& typed(const Json& step, const std::string& field, std::string& type) const;
  void encodePart(std::string_view part, bool first, bool special, Ids& out) const;

  std::string file_;
  std::unique_ptr<Model> model_;
  std::shared_ptr<const Charsmap> map_;
  std::vector<Normalizer> normalizers_;
  std::vector<PreTokenizer> preTokenizers_;
  enum class Decoder { spaced, metaspace, sentencePiece, wordPiece, byteLevel } decoder_ = Decoder::spaced;
  bool dropsFirstSpace_ = true;
  // By id, for decode, and those that are found in texts.
  std::vector<std::pair<int32_t, std::string>> addedById_;
  AddedTokens raw_, normalized_;
  // Without the special tokens.
  AddedTokens plainRaw_, plainNormalized_;
};

}  // namespace clip::tokenizer
