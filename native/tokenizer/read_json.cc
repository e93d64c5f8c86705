// Reads tokenizer.json, and the older pair of vocab.json and merges.txt.
#include <algorithm>

#include "threads/threads.h"
#include "tokenizer/base64.h"
#include "tokenizer/contents.h"
#include "tokenizer/fault.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/utf8.h"

namespace clip::tokenizer {
namespace {

constexpr uint32_t kMostMerges = 4'000'000;
constexpr size_t kMostAdded = 20'000, kLongestAdded = 1024;

std::string indexed(const char* list, size_t i) { return std::string(list) + "[" + std::to_string(i) + "]"; }

// `name`: returns the name of the field; it is only called for a message.
template <class F>
uint32_t idOf(double number, const std::string& file, F name) {
  if (!(number >= 0 && number < kMostPieces &&
        number == static_cast<double>(static_cast<uint32_t>(number)))) {
    Json got;
    got.type = Json::Type::number;
    got.number = number;
    refuse(file, name(), "an id from 0 to " + std::to_string(kMostPieces - 1), got.kind());
  }
  return static_cast<uint32_t>(number);
}

std::string tooLong() { return "a piece of at most " + std::to_string(kLongestPiece) + " bytes"; }

// {"piece": id, ...}
void readIds(JsonReader& json, Contents& to, const char* field, size_t bytes) {
  // A piece takes about 25 bytes of the file, of which about 7 are its spelling.
  to.pieces.reserve(std::min<size_t>(bytes / 24, 1 << 19), std::min<size_t>(bytes / 4, 1 << 24));
  json.object([&](std::string_view key) {
    const auto name = [&] { return std::string(field) + "[" + quoted(key) + "]"; };
    if (key.size() > kLongestPiece) refuse(to.file, name(), tooLong(), "a longer one");
    if (json.peek() == '"') refuse(to.file, name(), "an id", "a string");
    const uint32_t id = idOf(json.number(), to.file, name);
    if (id % 4096 == 0) endIfStopped();
    if (!to.pieces.put(key, id))
      refuse(to.file, name(), "a piece and an id that are not there before", "id " + std::to_string(id));
  });
}

// [["piece", score], ...]
void readScores(JsonReader& json, Contents& to) {
  json.array([&] {
    const auto id = static_cast<uint32_t>(to.scores.size());
    const auto fault = [&](const char* got) {
      refuse(to.file, indexed("model.vocab", id), "[piece, score]", got);
    };
    if (id >= kMostPieces) fault(("more than " + std::to_string(kMostPieces)).c_str());
    if (json.peek() != '[') fault("something else");
    int n = 0;
    json.array([&] {
      if (n == 0) {
        if (json.peek() != '"') fault("no piece");
        const std::string_view piece = json.string();
        if (piece.size() > kLongestPiece)
          refuse(to.file, indexed("model.vocab", id), tooLong(), "a longer one");
        to.pieces.put(piece, id);
      } else if (n == 1) {
        if (json.peek() == '"' || json.peek() == '[' || json.peek() == '{') fault("no score");
        to.scores.push_back(json.number());
      } else {
        fault("more than two values");
      }
      ++n;
    });
    if (n != 2) fault("fewer than two values");
  });
}

// Adds merges to the table. Each merge is delayed until the memory that its search needs has been prefetched.
class MergeReader {
 public:
  explicit MergeReader(Contents& to, std::string (*name)(uint32_t)) : to_(to), name_(name) {}

  // `place`: its position, from which the name of the field is made for messages.
  void put(std::string_view left, std::string_view right, uint32_t rank, uint32_t place) {
    Waiting& one = waiting_[next_ % kWaiting];
    if (next_ >= kWaiting) finish(one);
    one.left.assign(left);
    one.right.assign(right);
    one.both.assign(left);
    one.both += right.substr(std::min(to_.continuingPrefix.size(), right.size()));
    one.hashes[0] = to_.pieces.hash(one.left);
    one.hashes[1] = to_.pieces.hash(one.right);
    one.hashes[2] = to_.pieces.hash(one.both);
    one.rank = rank;
    one.place = place;
    for (const uint64_t hash : one.hashes) to_.pieces.prefetch(hash);
    if (next_ >= kWaiting / 2)
      for (const uint64_t hash : waiting_[(next_ - kWaiting / 2) % kWaiting].hashes)
        to_.pieces.prefetchSpelling(hash);
    if (++next_ % 4096 == 0) endIfStopped();
  }
  void end() {
    for (size_t i = next_ > kWaiting ? next_ - kWaiting : 0; i < next_; ++i) finish(waiting_[i % kWaiting]);
    for (size_t i = count_ >= kFound ? count_ - kFound + 1 : 0; i < count_; ++i) store(found_[i % kFound]);
    next_ = count_ = 0;
  }

 private:
  static constexpr size_t kWaiting = 16, kFound = 16;
  struct Waiting {
    std::string left, right, both;
    uint64_t hashes[3];
    uint32_t rank, place;
  };
  void finish(const Waiting& one) {
    const int64_t l = to_.pieces.find(one.left, one.hashes[0]), r = to_.pieces.find(one.right, one.hashes[1]),
                  m = to_.pieces.find(one.both, one.hashes[2]);
    if (l < 0 || r < 0 || m < 0)
      refuse(to_.file, name_(one.place), "two pieces that are in the vocabulary, as is their union",
             quoted(one.left) + " and " + quoted(one.right));
    found_[count_ % kFound] = {static_cast<uint32_t>(l), static_cast<uint32_t>(r), one.rank,
                               static_cast<uint32_t>(m)};
    to_.merges.prefetch(found_[count_ % kFound].left, found_[count_ % kFound].right);
    if (++count_ >= kFound) store(found_[count_ % kFound]);
  }
  struct Found {
    uint32_t left, right, rank, merged;
  };
  void store(const Found& f) { to_.merges.put(f.left, f.right, f.rank, f.merged); }

  Contents& to_;
  std::string (*name_)(uint32_t);
  Waiting waiting_[kWaiting];
  Found found_[kFound];
  size_t next_ = 0, count_ = 0;
};

// "a b" or ["a", "b"]
void readMerges(JsonReader& json, Contents& to, size_t bytes) {
  to.merges.reserve(std::min<size_t>(bytes / 24, 1 << 20));
  MergeReader reader(to, [](uint32_t i) { return indexed("model.merges", i); });
  std::string left, pair;
  uint32_t rank = 0;
  json.array([&] {
    const auto field = [&] { return indexed("model.merges", rank); };
    if (rank >= kMostMerges)
      refuse(to.file, "model.merges", "at most " + std::to_string(kMostMerges) + " merges", "more");
    if (json.peek() == '"') {
      pair.assign(json.string());
      const size_t cut = pair.find(' ');
      if (cut == std::string::npos || pair.find(' ', cut + 1) != std::string::npos)
        refuse(to.file, field(), "two pieces with a space between", quoted(pair));
      const std::string_view view = pair;
      reader.put(view.substr(0, cut), view.substr(cut + 1), rank, rank);
    } else {
      int n = 0;
      if (json.peek() != '[') refuse(to.file, field(), "\"a b\" or [\"a\", \"b\"]", "something else");
      json.array([&] {
        if (json.peek() != '"' || n > 1)
          refuse(to.file, field(), "\"a b\" or [\"a\", \"b\"]", "something else");
        if (n++ == 0)
          left.assign(json.string());
        else
          reader.put(left, json.string(), rank, rank);
      });
      if (n != 2) refuse(to.file, field(), "two pieces", std::to_string(n));
    }
    ++rank;
  });
  reader.end();
}

std::vector<AddedToken> addedTokens(const Json& list, const std::string& file) {
  std::vector<AddedToken> tokens;
  if (list.type == Json::Type::null) return tokens;
  if (!list.isArray()) refuse(file, "added_tokens", "an array", list.kind());
  if (list.items.size() > kMostAdded)
    refuse(file, "added_tokens", "at most " + std::to_string(kMostAdded) + " tokens",
           std::to_string(list.items.size()));
  for (size_t i = 0; i < list.items.size(); ++i) {
    const std::string name = indexed("added_tokens", i);
    const Json* content = list.items[i].member("content");
    const Json* id = list.items[i].member("id");
    if (!content || !content->isString() || content->string.size() > kLongestAdded)
      refuse(file, name + ".content", "a string of at most " + std::to_string(kLongestAdded) + " bytes",
             content ? content->kind() : "nothing");
    if (!id || id->type != Json::Type::number)
      refuse(file, name + ".id", "an id", id ? id->kind() : "nothing");
    const auto flag = [&](const char* key, bool absent) {
      const Json* said = list.items[i].member(key);
      if (!said) return absent;
      if (said->type != Json::Type::boolean) refuse(file, name + "." + key, "true or false", said->kind());
      return said->boolean;
    };
    AddedToken token;
    token.content = content->string;
    token.id = static_cast<int32_t>(idOf(id->number, file, [&] { return name + ".id"; }));
    token.special = flag("special", false);
    token.singleWord = flag("single_word", false);
    token.lstrip = flag("lstrip", false);
    token.rstrip = flag("rstrip", false);
    token.normalized = flag("normalized", !token.special);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// Finds the first Precompiled of a normalizer, like transformers.
void findCharsmap(Contents& to) {
  const auto read = [&](const Json& step, const std::string& field) {
    const Json* type = step.member("type");
    if (!to.map && type && type->isString() && type->string == "Precompiled")
      to.map = readCharsmap(step, to.file, field);
  };
  read(to.normalizer, "normalizer");
  if (const Json* list = to.normalizer.member("normalizers"); list && list->isArray())
    for (size_t i = 0; i < list->items.size(); ++i)
      read(list->items[i], indexed("normalizer.normalizers", i));
}

}  // namespace

std::shared_ptr<const Charsmap> readCharsmap(const Json& step, const std::string& file,
                                             const std::string& field) {
  const Json* map = step.member("precompiled_charsmap");
  std::string blob;
  if (!map || !map->isString() || !decodeBase64(map->string, blob))
    refuse(file, field + ".precompiled_charsmap", "text in base64", map ? map->kind() : "nothing");
  return std::make_shared<const Charsmap>(blob, file, field + ".precompiled_charsmap");
}

Contents readTokenizerJson(std::string_view bytes, const std::string& file) {
  if (bytes.size() > kMostBytes)
    refuse(file, "size", "at most " + std::to_string(kMostBytes) + " bytes",
           std::to_string(bytes.size()) + " bytes");
  Contents to;
  to.file = file;
  JsonReader json(bytes, file);
  if (json.peek() != '{') refuse(file, "(root)", "an object", "something else");
  Json model, addedList;
  model.type = Json::Type::object;
  size_t mergesAt = 0;
  bool hasModel = false, hasVocabulary = false, hasMerges = false, isList = false;
  std::vector<std::string> keys;
  const auto once = [&](const std::string& key) {
    for (const std::string& other : keys)
      if (other == key) json.fail("duplicate key " + quoted(key));
    if (keys.size() > 200) json.fail("more than 200 keys");
    keys.push_back(key);
  };
  json.object([&](std::string_view top) {
    const std::string key(top);
    once(key);
    if (key == "normalizer") {
      to.normalizer = json.value();
    } else if (key == "pre_tokenizer") {
      to.preTokenizer = json.value();
    } else if (key == "post_processor") {
      to.postProcessor = json.value();
    } else if (key == "decoder") {
      to.decoder = json.value();
    } else if (key == "added_tokens") {
      addedList = json.value();
    } else if (key == "model") {
      if (json.peek() != '{') refuse(file, "model", "an object", "something else");
      hasModel = true;
      json.object([&](std::string_view inner) {
        const std::string field(inner);
        once("model." + field);
        if (field == "vocab") {
          hasVocabulary = true;
          isList = json.peek() == '[';
          if (isList)
            readScores(json, to);
          else if (json.peek() == '{')
            readIds(json, to, "model.vocab", bytes.size());
          else
            refuse(file, "model.vocab", "an object or an array", "something else");
        } else if (field == "merges") {
          hasMerges = json.peek() == '[';
          // Merges need the pieces and the prefix. If these come later in the file, merges are read afterwards.
          mergesAt = json.position();
          const bool hasPrefix = std::find(model.keys.begin(), model.keys.end(),
                                           "continuing_subword_prefix") != model.keys.end();
          if (hasMerges && hasVocabulary && hasPrefix && !isList) {
            const Json* prefix = model.member("continuing_subword_prefix");
            to.continuingPrefix = prefix ? prefix->string : "";
            readMerges(json, to, bytes.size());
            mergesAt = 0;
          } else {
            json.skip();
          }
        } else {
          model.items.push_back(json.value());
          model.keys.push_back(field);
        }
      });
    } else {
      json.skip();
    }
  });
  json.end();
  if (!hasModel) refuse(file, "model", "an object", "nothing");
  if (!hasVocabulary) refuse(file, "model.vocab", "an object or an array", "nothing");
  if (to.pieces.count() == 0) refuse(file, "model.vocab", "one piece at least", "none");

  const auto text = [&](const char* key, const char* absent) -> std::string {
    const Json* said = model.member(key);
    if (said && !said->isString()) refuse(file, std::string("model.") + key, "a string", said->kind());
    return said ? said->string : absent;
  };
  const auto flag = [&](const char* key) {
    const Json* said = model.member(key);
    if (said && said->type != Json::Type::boolean)
      refuse(file, std::string("model.") + key, "true or false", said->kind());
    return said && said->boolean;
  };
  const std::string type = text("type", hasMerges ? "BPE" : isList ? "Unigram" : "WordPiece");
  if (type == "Unigram")
    to.kind = Contents::Kind::unigram;
  else if (type == "BPE")
    to.kind = Contents::Kind::bpe;
  else if (type == "WordPiece")
    to.kind = Contents::Kind::wordPiece;
  else
    refuse(file, "model.type", "\"Unigram\", \"BPE\" or \"WordPiece\"", quoted(type));
  if (isList != (to.kind == Contents::Kind::unigram))
    refuse(file, "model.vocab", isList ? "an object" : "an array of [piece, score]",
           isList ? "an array" : "an object");
  if (to.kind == Contents::Kind::unigram) {
    to.byteFallback = flag("byte_fallback");
    if (const Json* id = model.member("unk_id")) {
      if (id->type != Json::Type::number) refuse(file, "model.unk_id", "an id", id->kind());
      to.unknownId = static_cast<int32_t>(idOf(id->number, file, [] { return std::string("model.unk_id"); }));
      if (!to.pieces.has(static_cast<uint32_t>(to.unknownId)))
        refuse(file, "model.unk_id", "the id of a piece", std::to_string(to.unknownId));
    }
  } else {
    to.unknownToken = text("unk_token", "");
    to.unknownId = to.unknownToken.empty() ? -1 : static_cast<int32_t>(to.pieces.find(to.unknownToken));
  }
  if (to.kind == Contents::Kind::bpe) {
    to.byteFallback = flag("byte_fallback");
    to.fuseUnknown = flag("fuse_unk");
    to.ignoreMerges = flag("ignore_merges");
    to.continuingPrefix = text("continuing_subword_prefix", "");
    to.endSuffix = text("end_of_word_suffix", "");
    if (to.continuingPrefix.size() + to.endSuffix.size() > 100)
      refuse(file, "model.continuing_subword_prefix", "a short string", "a long one");
    if (!hasMerges) refuse(file, "model.merges", "an array", "nothing");
    if (mergesAt > 0) {
      json.seek(mergesAt);
      readMerges(json, to, bytes.size());
    }
  }
  if (to.kind == Contents::Kind::wordPiece) {
    to.continuingPrefix = text("continuing_subword_prefix", "##");
    if (const Json* most = model.member("max_input_chars_per_word")) {
      if (most->type != Json::Type::number || !(most->number >= 1 && most->number <= 10'000))
        refuse(file, "model.max_input_chars_per_word", "from 1 to 10000", most->kind());
      to.longestWord = static_cast<uint32_t>(most->number);
    }
    if (to.continuingPrefix.size() > 100)
      refuse(file, "model.continuing_subword_prefix", "a short string", "a long one");
  }
  to.added = addedTokens(addedList, file);
  findCharsmap(to);
  return to;
}

Contents readVocabularyAndMerges(std::string_view vocabulary, const std::string& file,
                                 std::string_view merges, const std::string& mergesFile) {
  Contents to;
  to.file = file;
  to.kind = Contents::Kind::bpe;
  JsonReader json(vocabulary, file);
  if (json.peek() != '{') refuse(file, "(root)", "an object", "something else");
  readIds(json, to, "vocab", vocabulary.size());
  json.end();
  to.file = mergesFile;
  if (!isValid(merges)) refuse(mergesFile, "merges", "UTF-8 text", "other bytes");
  MergeReader reader(to, [](uint32_t line) { return "line " + std::to_string(line); });
  uint32_t rank = 0, line = 0;
  for (size_t at = 0; at < merges.size();) {
    size_t end = merges.find('\n', at);
    if (end == std::string_view::npos) end = merges.size();
    std::string_view merge = merges.substr(at, end - at);
    at = end + 1;
    ++line;
    if (merge.ends_with('\r')) merge.remove_suffix(1);
    if (merge.empty() || (line == 1 && merge.starts_with("#version"))) continue;
    const auto field = [&] { return "line " + std::to_string(line); };
    const size_t cut = merge.find(' ');
    if (cut == std::string_view::npos || merge.find(' ', cut + 1) != std::string_view::npos)
      refuse(mergesFile, field(), "two pieces with a space between", quoted(merge));
    if (rank >= kMostMerges)
      refuse(mergesFile, field(), "at most " + std::to_string(kMostMerges) + " merges", "more");
    reader.put(merge.substr(0, cut), merge.substr(cut + 1), rank++, line);
  }
  reader.end();
  to.file = file;
  return to;
}

Contents readLines(std::string_view bytes, const std::string& file) {
  Contents to;
  to.file = file;
  to.kind = Contents::Kind::wordPiece;
  to.unknownToken = "[UNK]";
  to.continuingPrefix = "##";
  if (!isValid(bytes)) refuse(file, "vocab", "UTF-8 text", "other bytes");
  uint32_t id = 0;
  for (size_t at = 0; at < bytes.size(); ++id) {
    size_t end = bytes.find('\n', at);
    if (end == std::string_view::npos) end = bytes.size();
    std::string_view piece = bytes.substr(at, end - at);
    at = end + 1;
    // White space at the end of a line is not part of the piece.
    const std::string trimmed = normalize(Strip{false, true}, std::string(piece));
    if (id >= kMostPieces) refuse(file, "vocab", "at most " + std::to_string(kMostPieces) + " lines", "more");
    if (trimmed.size() > kLongestPiece)
      refuse(file, "line " + std::to_string(id + 1), tooLong(), "a longer one");
    to.pieces.put(trimmed, id);
  }
  if (id == 0) refuse(file, "vocab", "one piece at least", "none");
  return to;
}

}  // namespace clip::tokenizer
