#pragma once
// From texts to ids and back, as a class of transformers does it with a vocabulary.
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/contents.h"
#include "tokenizer/pipeline.h"

namespace clip::tokenizer {

// The classes of transformers 5, each with a pipeline of its own; `generic` takes what tokenizer.json says.
enum class Class { t5, siglip, xlmRoberta, gemma, siglip2, nllb, bert, roberta, generic };

// What tokenizer_config.json says, where it says it, and what the family wants.
struct Settings {
  Class like = Class::generic;
  std::optional<bool> lowercase, ideographs, accents, prefixSpace, startsWithBos, endsWithEos;
  bool legacyLanguage = false;
  std::string language;
  // Names of special tokens: the class's own, unless the file says otherwise.
  std::string bos, eos, unk, sep, pad, cls, mask;
  // Tokens that tokenizer_config.json lists; they stand in for those of tokenizer.json.
  bool hasAdded = false;
  std::vector<AddedToken> added;
  // More special tokens, in the order in which they get their ids where the vocabulary lacks them.
  std::vector<std::string> extra;
};

class Tokenizer {
 public:
  Tokenizer(Contents contents, const Settings& settings);

  // The ids of a text in UTF-8, without those that every text begins and ends with. `special`: tokens that are
  // spelt out in the text are found.
  void encode(std::string_view text, bool special, Ids& out) const;
  // The text of ids, all of which must be ids (isId).
  std::string decode(const int32_t* ids, size_t count) const;
  bool isId(int32_t id) const;

  const char* kind = "";  // of the model, for people
  Ids prefix, suffix;     // of every text
  int32_t padId = 0, sepId = -1, eosId = -1, unkId = -1;
  // One more than the largest id that a file names.
  uint32_t size = 0;

 private:
  void build(Contents contents, const Settings& settings);
  int32_t idOf(const std::string& token) const;  // -1: there is none
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
  // By id, for decode; and those that are found in texts.
  std::vector<std::pair<int32_t, std::string>> addedById_;
  AddedTokens raw_, normalized_;
  // Without the special ones.
  AddedTokens plainRaw_, plainNormalized_;
};

}  // namespace clip::tokenizer
