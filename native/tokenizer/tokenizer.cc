#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <cstdio>
#include <unordered_set>

#include "threads/threads.h"
#include "tokenizer/fault.h"
#include "tokenizer/utf8.h"

namespace clip::tokenizer {
namespace {

const std::string kSpace = "\xe2\x96\x81";  // ▁

const char* nameOf(Contents::Kind kind) {
  return kind == Contents::Kind::unigram ? "Unigram" : kind == Contents::Kind::bpe ? "BPE" : "WordPiece";
}

Contents::Kind kindOf(Class like, Contents::Kind own) {
  switch (like) {
    case Class::t5:
    case Class::siglip:
    case Class::xlmRoberta:
      return Contents::Kind::unigram;
    case Class::gemma:
    case Class::siglip2:
    case Class::nllb:
    case Class::roberta:
      return Contents::Kind::bpe;
    case Class::bert:
      return Contents::Kind::wordPiece;
    case Class::generic:
      return own;
  }
  return own;
}

// Reorders the pieces of XLM-R's and NLLB's SentencePiece models as in fairseq.
void reorder(Contents& to, const Settings& s) {
  const bool nllb = s.like == Class::nllb;
  if (to.kinds.empty() || (!nllb && s.like != Class::xlmRoberta)) return;
  Pieces pieces;
  std::vector<double> scores(4, 0.0);
  const std::string first[] = {nllb ? s.bos : s.cls, s.pad, s.eos, s.unk};
  pieces.reserve(to.pieces.size() + 5, 1 << 16);
  for (uint32_t id = 0; id < 4; ++id) pieces.put(first[id], id);
  std::vector<int64_t> moved(to.pieces.size(), -1);
  uint32_t next = 4;
  for (uint32_t id = nllb ? 0 : 3; id < to.pieces.size(); ++id) {
    if (!to.pieces.has(id)) continue;
    const std::string_view piece = to.pieces.at(id);
    if (nllb && std::find(std::begin(first), std::end(first), piece) != std::end(first)) continue;
    moved[id] = next;
    pieces.put(piece, next++);
    scores.push_back(to.scores[id]);
  }
  if (!nllb) {
    pieces.put(s.mask, next);
    scores.push_back(0.0);
  }
  Merges merges;
  merges.reserve(to.merges.size());
  to.merges.each([&](const Merges::Merge& m) {
    const auto at = [&](uint64_t id) {
      const int64_t own = moved[static_cast<size_t>(id)];
      return own >= 0 ? own : pieces.find(to.pieces.at(static_cast<uint32_t>(id)));
    };
    const int64_t left = at(m.pair >> 32), right = at(m.pair & UINT32_MAX), merged = at(m.merged);
    if (left >= 0 && right >= 0 && merged >= 0)
      merges.put(static_cast<uint32_t>(left), static_cast<uint32_t>(right), m.rank,
                 static_cast<uint32_t>(merged));
  });
  to.pieces = std::move(pieces);
  to.scores = std::move(scores);
  to.merges = std::move(merges);
  to.kinds.clear();
  for (AddedToken& token : to.added) token.id = static_cast<int32_t>(to.pieces.find(token.content));
  std::erase_if(to.added, [](const AddedToken& token) { return token.id < 0; });
}

const std::string& stringOf(const Json& step, const char* key, const std::string& file,
                            const std::string& field) {
  const Json* said = step.member(key);
  if (!said || !said->isString())
    refuse(file, field + "." + key, "a string", said ? said->kind() : "nothing");
  return said->string;
}

bool flagOf(const Json& step, const char* key, bool absent, const std::string& file,
            const std::string& field) {
  const Json* said = step.member(key);
  if (!said) return absent;
  if (said->type != Json::Type::boolean) refuse(file, field + "." + key, "true or false", said->kind());
  return said->boolean;
}

const std::vector<Json>& listOf(const Json& step, const char* key, const std::string& file,
                                const std::string& field) {
  const Json* said = step.member(key);
  if (!said || !said->isArray()) refuse(file, field + "." + key, "an array", said ? said->kind() : "nothing");
  return said->items;
}

// Removes the space before English punctuation, as the original does when it decodes a piece.
std::string tidied(std::string word) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules)
    word = normalize(Replace{std::string(from), std::string(to)}, std::move(word));
  return word;
}

std::string indexed(const std::string& list, size_t i) { return list + "[" + std::to_string(i) + "]"; }

}  // namespace

Tokenizer::Tokenizer(Contents contents, const Settings& settings) : file_(contents.file) {
  const Contents::Kind wanted = kindOf(settings.like, contents.kind);
  if (contents.kind != wanted)
    refuse(file_, "model.type", std::string("\"") + nameOf(wanted) + "\"",
           std::string("\"") + nameOf(contents.kind) + "\"");
  reorder(contents, settings);
  build(std::move(contents), settings);
}

int32_t Tokenizer::idOf(const std::string& token) const {
  for (const auto& [id, content] : addedById_)
    if (content == token) return id;
  return static_cast<int32_t>(model_->pieces.find(token));
}

int32_t Tokenizer::needed(const std::string& token, const std::string& what) const {
  const int32_t id = idOf(token);
  if (id < 0) refuse(file_, "model.vocab", "to have " + what + " " + quoted(token), "none");
  return id;
}

void Tokenizer::build(Contents from, const Settings& s) {
  const Class like = s.like;
  const Json normalizer = std::move(from.normalizer), preTokenizer = std::move(from.preTokenizer),
             postProcessor = std::move(from.postProcessor), decoder = std::move(from.decoder);
  map_ = from.map;
  std::vector<AddedToken> added = s.hasAdded ? s.added : from.added;

  // The model.
  switch (from.kind) {
    case Contents::Kind::unigram: {
      int32_t unknown = from.unknownId;
      if (like == Class::t5) unknown = 2;
      if (like == Class::xlmRoberta) unknown = 3;
      if (unknown < 0 || !from.pieces.has(static_cast<uint32_t>(unknown)))
        refuse(file_, "model.unk_id", "the id of a piece", std::to_string(unknown));
      Unigram::Options options;
      options.byteFallback = from.byteFallback && (like == Class::siglip || like == Class::generic);
      if (like == Class::siglip) {
        options.sentencePiece = true;
        options.kinds = from.kinds;
        // tokenizer.json does not contain the kinds of the pieces.
        if (options.kinds.empty()) {
          options.kinds.assign(from.pieces.size(), Unigram::Kind::normal);
          options.kinds[static_cast<size_t>(unknown)] = Unigram::Kind::unknown;
          for (const AddedToken& token : added)
            if (token.special && from.pieces.has(static_cast<uint32_t>(token.id)) && token.id != unknown)
              options.kinds[static_cast<size_t>(token.id)] = Unigram::Kind::control;
        }
        SentencePieceNormalizer step{map_, from.dummyPrefix, from.removeSpaces, from.escapeSpaces, {}};
        if (from.spaceAsSuffix) refuse(file_, "trainer_spec.treat_whitespace_as_suffix", "false", "true");
        for (uint32_t id = 0; id < options.kinds.size(); ++id)
          if (options.kinds[id] == Unigram::Kind::userDefined)
            step.userDefined.emplace_back(from.pieces.at(id));
        if (step.userDefined.size() > 256)
          refuse(file_, "pieces", "at most 256 user-defined symbols",
                 std::to_string(step.userDefined.size()));
        normalizers_.push_back(std::move(step));
      }
      kind = like == Class::siglip ? "SentencePiece Unigram" : "Unigram";
      model_ = std::make_unique<Unigram>(std::move(from.pieces), std::move(from.scores), unknown,
                                         std::move(options));
      break;
    }
    case Contents::Kind::bpe: {
      Bpe::Options options;
      options.byteFallback = from.byteFallback;
      options.fuseUnknown = from.fuseUnknown;
      options.ignoreMerges = from.ignoreMerges;
      options.continuingPrefix = from.continuingPrefix;
      options.endSuffix = from.endSuffix;
      int32_t unknown = from.unknownId;
      if (like != Class::generic) {
        const bool gemma = like == Class::gemma || like == Class::siglip2;
        options = {.byteFallback = gemma,
                   .fuseUnknown = like != Class::roberta,
                   .ignoreMerges = false,
                   .continuingPrefix = {},
                   .endSuffix = {}};
        unknown = like == Class::roberta ? -1 : static_cast<int32_t>(from.pieces.find(s.unk));
        if (unknown < 0 && like != Class::roberta)
          refuse(file_, "model.vocab", "to have the unknown token " + quoted(s.unk), "none");
      }
      kind = like == Class::roberta ? "byte-level BPE" : "BPE";
      model_ =
          std::make_unique<Bpe>(std::move(from.pieces), std::move(from.merges), unknown, std::move(options));
      break;
    }
    case Contents::Kind::wordPiece: {
      const std::string token = like == Class::bert         ? s.unk
                                : from.unknownToken.empty() ? "[UNK]"
                                                            : from.unknownToken;
      const int64_t unknown = from.pieces.find(token);
      if (unknown < 0) refuse(file_, "model.vocab", "to have the unknown token " + quoted(token), "none");
      kind = "WordPiece";
      model_ = std::make_unique<WordPiece>(std::move(from.pieces), static_cast<int32_t>(unknown),
                                           like == Class::bert ? "##" : from.continuingPrefix,
                                           like == Class::bert ? 100u : from.longestWord);
      break;
    }
  }
  unkId = model_->unknownId;

  // The steps before the model, and the tokens around every text.
  const auto metaspace = [&](bool prefixed) {
    preTokenizers_.push_back(
        Metaspace{kSpace, prefixed ? Metaspace::Prefix::always : Metaspace::Prefix::never, true});
    decoder_ = Decoder::metaspace;
    dropsFirstSpace_ = prefixed;
  };
  switch (like) {
    case Class::siglip:
      decoder_ = Decoder::metaspace;
      break;
    case Class::t5:
    case Class::xlmRoberta:
      if (map_) normalizers_.push_back(Precompiled{map_});
      preTokenizers_.push_back(WhitespaceSplit{});
      metaspace(like == Class::t5 || s.prefixSpace.value_or(true));
      break;
    case Class::nllb:
      if (map_) {
        normalizers_.push_back(Precompiled{map_});
        normalizers_.push_back(ReplaceRuns{" ", " "});
      }
      metaspace(true);
      break;
    case Class::gemma:
    case Class::siglip2:
      if (like == Class::siglip2) normalizers_.push_back(Lowercase{});
      normalizers_.push_back(Replace{" ", kSpace});
      preTokenizers_.push_back(Split{" ", Split::Keep::withPrevious});
      decoder_ = Decoder::sentencePiece;
      break;
    case Class::bert: {
      const bool lowercase = s.lowercase.value_or(true);
      normalizers_.push_back(
          BertNormalizer{true, s.ideographs.value_or(true), s.accents.value_or(lowercase), lowercase});
      preTokenizers_.push_back(BertPreTokenizer{});
      decoder_ = Decoder::wordPiece;
      break;
    }
    case Class::roberta:
      preTokenizers_.push_back(ByteLevel{s.prefixSpace.value_or(false), true});
      decoder_ = Decoder::byteLevel;
      break;
    case Class::generic:
      readNormalizer(normalizer, "normalizer");
      readPreTokenizer(preTokenizer, "pre_tokenizer");
      readDecoder(decoder, "decoder");
      break;
  }

  // The tokens that are found in texts.
  std::vector<AddedToken> all;
  std::unordered_set<std::string> known;
  size = model_->pieces.size();
  uint32_t nextId = size;
  const auto put = [&](AddedToken token, bool hasId) {
    if (token.content.empty()) return;
    if (!known.insert(token.content).second) return;
    const int64_t there = model_->pieces.find(token.content);
    if (there >= 0 && hasId && there != token.id)
      refuse(file_, "added token " + quoted(token.content),
             std::to_string(there) + ", its id in the vocabulary", std::to_string(token.id));
    if (there >= 0)
      token.id = static_cast<int32_t>(there);
    else if (!hasId)
      token.id = static_cast<int32_t>(nextId);
    nextId = std::max(nextId, static_cast<uint32_t>(token.id) + 1);
    if (hasId) size = std::max(size, static_cast<uint32_t>(token.id) + 1);
    all.push_back(std::move(token));
  };
  std::stable_sort(added.begin(), added.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  for (const AddedToken& token : added) put(token, true);
  const auto special = [&](const std::string& content) {
    AddedToken token;
    token.content = content;
    token.special = true;
    token.normalized = false;
    // SigLIP's own tokens include the white space around them.
    token.lstrip = token.rstrip = like == Class::siglip;
    put(std::move(token), false);
  };
  for (const std::string* name : {&s.bos, &s.eos, &s.unk, &s.sep, &s.pad, &s.cls, &s.mask}) special(*name);
  for (const std::string& name : s.extra) special(name);
  // As in the original, special tokens are matched first.
  std::stable_partition(all.begin(), all.end(), [](const AddedToken& token) { return token.special; });
  for (const AddedToken& token : all) {
    addedById_.emplace_back(token.id, token.content);
    if (token.special && like != Class::siglip) {
      const auto id = static_cast<size_t>(token.id);
      if (id >= model_->specials.size()) model_->specials.resize(id + 1);
      model_->specials[id] = true;
    }
    // Those of SigLIP are found before a text is cleaned, in lib/tokenizer/file-tokenizer.ts.
    if (like == Class::siglip) continue;
    std::string spelling = token.content;
    if (token.normalized)
      for (const Normalizer& step : normalizers_) spelling = normalize(step, std::move(spelling));
    (token.normalized ? normalized_ : raw_).add(spelling, token);
    if (!token.special) (token.normalized ? plainNormalized_ : plainRaw_).add(spelling, token);
  }
  std::sort(addedById_.begin(), addedById_.end());

  // The tokens at the beginning and the end of every text.
  const bool told = s.startsWithBos.has_value() || s.endsWithEos.has_value();
  switch (like) {
    case Class::t5:
    case Class::siglip:
      suffix = {needed(s.eos, "the end token")};
      break;
    case Class::xlmRoberta:
      prefix = {needed(s.bos, "the start token")};
      suffix = {needed(s.eos, "the end token")};
      break;
    case Class::nllb: {
      const int32_t language = idOf(s.language);
      if (language < 0)
        refuse(file_, "language", "a language code of the vocabulary, for example \"eng_Latn\"",
               quoted(s.language));
      const int32_t eos = needed(s.eos, "the end token");
      if (s.legacyLanguage)
        suffix = {eos, language};
      else
        prefix = {language}, suffix = {eos};
      break;
    }
    case Class::bert:
    case Class::roberta:
      prefix = {needed(s.cls, "the start token")};
      suffix = {needed(s.sep, "the end token")};
      break;
    case Class::gemma:
    case Class::siglip2:
    case Class::generic:
      if (told) {
        if (s.startsWithBos.value_or(false)) prefix = {needed(s.bos, "the start token")};
        if (s.endsWithEos.value_or(false)) suffix = {needed(s.eos, "the end token")};
      } else {
        readPostProcessor(postProcessor, "post_processor");
      }
      break;
  }
  eosId = s.eos.empty() ? -1 : idOf(s.eos);
  sepId = s.sep.empty() ? -1 : idOf(s.sep);
  const int32_t pad = s.pad.empty() ? -1 : idOf(s.pad);
  padId = pad >= 0 ? pad : 0;
}

// ---- The steps in tokenizer.json

const Json& Tokenizer::typed(const Json& step, const std::string& field, std::string& type) const {
  if (!step.isObject()) refuse(file_, field, "an object", step.kind());
  type = stringOf(step, "type", file_, field);
  return step;
}

void Tokenizer::readNormalizer(const Json& step, const std::string& field) {
  if (step.type == Json::Type::null) return;
  std::string type;
  typed(step, field, type);
  const auto flag = [&](const char* key, bool absent) { return flagOf(step, key, absent, file_, field); };
  if (type == "Sequence") {
    const auto& items = listOf(step, "normalizers", file_, field);
    for (size_t i = 0; i < items.size(); ++i) readNormalizer(items[i], indexed(field + ".normalizers", i));
  } else if (type == "Precompiled") {
    normalizers_.push_back(Precompiled{readCharsmap(step, file_, field)});
  } else if (type == "Lowercase") {
    normalizers_.push_back(Lowercase{});
  } else if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    normalizers_.push_back(Normalization{type == "NFC"    ? Normal::NFC
                                         : type == "NFD"  ? Normal::NFD
                                         : type == "NFKC" ? Normal::NFKC
                                                          : Normal::NFKD});
  } else if (type == "Replace") {
    const Json* pattern = step.member("pattern");
    if (!pattern) refuse(file_, field + ".pattern", "an object", "nothing");
    const std::string& to = stringOf(step, "content", file_, field);
    if (pattern->member("String")) {
      const std::string& from = stringOf(*pattern, "String", file_, field + ".pattern");
      // A text of a million characters must not grow to a billion.
      if (to.size() > 16 + 4 * from.size())
        refuse(file_, field + ".content", "at most 16 bytes more than four times the pattern",
               std::to_string(to.size()));
      normalizers_.push_back(Replace{from, to});
    } else {
      const std::string& regex = stringOf(*pattern, "Regex", file_, field + ".pattern");
      if (regex != " {2,}")
        refuse(file_, field + ".pattern.Regex", "\" {2,}\", the only expression that is read", quoted(regex));
      if (to.size() > 8) refuse(file_, field + ".content", "at most 8 bytes", std::to_string(to.size()));
      normalizers_.push_back(ReplaceRuns{" ", to});
    }
  } else if (type == "Prepend") {
    normalizers_.push_back(Prepend{stringOf(step, "prepend", file_, field)});
  } else if (type == "Strip") {
    normalizers_.push_back(Strip{flag("strip_left", true), flag("strip_right", true)});
  } else if (type == "BertNormalizer") {
    const bool lowercase = flag("lowercase", true);
    normalizers_.push_back(BertNormalizer{flag("clean_text", true), flag("handle_chinese_chars", true),
                                          flag("strip_accents", lowercase), lowercase});
  } else {
    refuse(
        file_, field + ".type",
        "Sequence, Precompiled, Lowercase, NFC, NFD, NFKC, NFKD, Replace, Prepend, Strip or BertNormalizer",
        quoted(type));
  }
  if (normalizers_.size() > 64) refuse(file_, field, "at most 64 normalizers", "more");
}

void Tokenizer::readPreTokenizer(const Json& step, const std::string& field) {
  if (step.type == Json::Type::null) return;
  std::string type;
  typed(step, field, type);
  const auto flag = [&](const char* key, bool absent) { return flagOf(step, key, absent, file_, field); };
  if (type == "Sequence") {
    const auto& items = listOf(step, "pretokenizers", file_, field);
    for (size_t i = 0; i < items.size(); ++i)
      readPreTokenizer(items[i], indexed(field + ".pretokenizers", i));
  } else if (type == "WhitespaceSplit") {
    preTokenizers_.push_back(WhitespaceSplit{});
  } else if (type == "Metaspace") {
    const std::string& mark = stringOf(step, "replacement", file_, field);
    size_t at = 0;
    if (!mark.empty()) next(mark, at);
    if (mark.empty() || at != mark.size())
      refuse(file_, field + ".replacement", "one character", quoted(mark));
    // Older files use add_prefix_space instead.
    auto prefix = flag("add_prefix_space", true) ? Metaspace::Prefix::always : Metaspace::Prefix::never;
    if (step.member("prepend_scheme")) {
      const std::string& said = stringOf(step, "prepend_scheme", file_, field);
      if (said == "always")
        prefix = Metaspace::Prefix::always;
      else if (said == "first")
        prefix = Metaspace::Prefix::first;
      else if (said == "never")
        prefix = Metaspace::Prefix::never;
      else
        refuse(file_, field + ".prepend_scheme", "\"always\", \"first\" or \"never\"", quoted(said));
    }
    // With both of these normalizers, it would have to be tracked character by character whether the text
    // still begins with its own beginning.
    const auto has = [&](auto kind) {
      return std::any_of(normalizers_.begin(), normalizers_.end(),
                         [](const Normalizer& n) { return std::holds_alternative<decltype(kind)>(n); });
    };
    if (prefix == Metaspace::Prefix::first && has(Strip{}) && has(Precompiled{}))
      refuse(file_, field + ".prepend_scheme",
             "\"always\" or \"never\" behind the normalizers Precompiled and Strip", "\"first\"");
    preTokenizers_.push_back(Metaspace{mark, prefix, flag("split", true)});
  } else if (type == "Split") {
    const Json* pattern = step.member("pattern");
    if (!pattern || !pattern->member("String"))
      refuse(file_, field + ".pattern", "a String (no expression is read)",
             pattern ? "something else" : "nothing");
    if (flag("invert", false)) refuse(file_, field + ".invert", "false", "true");
    const std::string& keep = stringOf(step, "behavior", file_, field);
    const std::pair<const char*, Split::Keep> words[] = {{"Removed", Split::Keep::removed},
                                                         {"Isolated", Split::Keep::isolated},
                                                         {"MergedWithPrevious", Split::Keep::withPrevious},
                                                         {"MergedWithNext", Split::Keep::withNext},
                                                         {"Contiguous", Split::Keep::contiguous}};
    const auto* const found =
        std::find_if(std::begin(words), std::end(words), [&](const auto& w) { return keep == w.first; });
    if (found == std::end(words))
      refuse(file_, field + ".behavior",
             "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", quoted(keep));
    preTokenizers_.push_back(Split{stringOf(*pattern, "String", file_, field + ".pattern"), found->second});
  } else if (type == "BertPreTokenizer") {
    preTokenizers_.push_back(BertPreTokenizer{});
  } else if (type == "ByteLevel") {
    preTokenizers_.push_back(ByteLevel{flag("add_prefix_space", true), flag("use_regex", true)});
    kind = "byte-level BPE";
  } else {
    refuse(file_, field + ".type",
           "Sequence, WhitespaceSplit, Metaspace, Split, BertPreTokenizer or ByteLevel", quoted(type));
  }
  if (preTokenizers_.size() > 64) refuse(file_, field, "at most 64 pre-tokenizers", "more");
}

void Tokenizer::readPostProcessor(const Json& step, const std::string& field) {
  if (step.type == Json::Type::null) return;
  std::string type;
  typed(step, field, type);
  // [token, id]
  const auto pair = [&](const char* key) {
    const auto& items = listOf(step, key, file_, field);
    if (items.size() != 2 || !items[0].isString() || items[1].type != Json::Type::number)
      refuse(file_, field + "." + key, "[token, id]", "something else");
    const auto id = static_cast<int32_t>(std::clamp(items[1].number, -1.0, 1e9));
    if (!isId(id)) refuse(file_, field + "." + key, "an id of the vocabulary", items[1].kind());
    return id;
  };
  if (type == "Sequence") {
    const auto& items = listOf(step, "processors", file_, field);
    for (size_t i = 0; i < items.size(); ++i) readPostProcessor(items[i], indexed(field + ".processors", i));
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    prefix.push_back(pair("cls"));
    suffix.push_back(pair("sep"));
  } else if (type == "TemplateProcessing") {
    const Json* specials = step.member("special_tokens");
    bool behind = false;
    const auto& items = listOf(step, "single", file_, field);
    for (size_t i = 0; i < items.size(); ++i) {
      const std::string name = indexed(field + ".single", i);
      if (items[i].member("Sequence")) {
        if (behind) refuse(file_, name, "the text once", "twice");
        behind = true;
        continue;
      }
      const Json* special = items[i].member("SpecialToken");
      if (!special) refuse(file_, name, "Sequence or SpecialToken", items[i].kind());
      const std::string& token = stringOf(*special, "id", file_, name);
      const Json* known = specials ? specials->member(token) : nullptr;
      if (!known) refuse(file_, field + ".special_tokens", "to have " + quoted(token), "none");
      for (const Json& number : listOf(*known, "ids", file_, field + ".special_tokens")) {
        const auto id = static_cast<int32_t>(
            number.type == Json::Type::number ? std::clamp(number.number, -1.0, 1e9) : -1);
        if (!isId(id)) refuse(file_, field + ".special_tokens", "ids of the vocabulary", number.kind());
        (behind ? suffix : prefix).push_back(id);
      }
    }
    if (!behind) refuse(file_, field + ".single", "to have the text", "none");
  } else if (type != "ByteLevel") {
    refuse(file_, field + ".type",
           "Sequence, BertProcessing, RobertaProcessing, TemplateProcessing or ByteLevel", quoted(type));
  }
  if (prefix.size() + suffix.size() > 16) refuse(file_, field, "at most 16 special tokens", "more");
}

// Determines which of the known ways of writing pieces the file uses; an unknown one is not a reason to
// reject the file.
void Tokenizer::readDecoder(const Json& step, const std::string& field) {
  const Json* type = step.isObject() ? step.member("type") : nullptr;
  if (!type || !type->isString()) return;
  if (type->string == "Metaspace") decoder_ = Decoder::metaspace;
  if (type->string == "WordPiece") decoder_ = Decoder::wordPiece;
  if (type->string == "ByteLevel") decoder_ = Decoder::byteLevel;
  if (type->string == "Sequence" || type->string == "ByteFallback") decoder_ = Decoder::sentencePiece;
  (void)field;
}

// ---- Texts

void Tokenizer::encode(std::string_view text, bool special, Ids& out) const {
  for (const AddedTokens::Part& part : (special ? raw_ : plainRaw_).split(text))
    if (part.id >= 0)
      out.push_back(part.id);
    else
      encodePart(part.text, part.text.data() == text.data(), special, out);
}

void Tokenizer::encodePart(std::string_view part, bool first, bool special, Ids& out) const {
  std::string text(part);
  for (const Normalizer& step : normalizers_) {
    endIfStopped();
    first = first && keepsStart(step, text);
    text = normalize(step, std::move(text));
  }
  for (const AddedTokens::Part& found : (special ? normalized_ : plainNormalized_).split(text)) {
    if (found.id >= 0) {
      out.push_back(found.id);
      continue;
    }
    if (found.text.empty()) continue;
    std::vector<Word> words;
    words.push_back({std::string(found.text), first && found.text.data() == text.data()});
    for (const PreTokenizer& step : preTokenizers_) {
      endIfStopped();
      words = preTokenize(step, std::move(words));
    }
    size_t n = 0;
    for (const Word& word : words) {
      if (++n % 256 == 0) endIfStopped();
      if (!word.text.empty()) model_->encode(word.text, special, out);
    }
  }
}

bool Tokenizer::isId(int32_t id) const {
  if (id < 0) return false;
  const auto at = std::lower_bound(addedById_.begin(), addedById_.end(), id,
                                   [](const auto& one, int32_t x) { return one.first < x; });
  return (at != addedById_.end() && at->first == id) || model_->pieces.has(static_cast<uint32_t>(id));
}

std::string Tokenizer::decode(const int32_t* ids, size_t count) const {
  std::string out, bytes;
  // Each byte that is not valid UTF-8 becomes a replacement character.
  const auto flush = [&] {
    if (isValid(bytes))
      out += bytes;
    else
      for (size_t i = 0; i < bytes.size(); ++i) out += "\xef\xbf\xbd";
    bytes.clear();
  };
  for (size_t i = 0; i < count; ++i) {
    const auto at = std::lower_bound(addedById_.begin(), addedById_.end(), ids[i],
                                     [](const auto& one, int32_t x) { return one.first < x; });
    const std::string_view piece = at != addedById_.end() && at->first == ids[i]
                                       ? std::string_view(at->second)
                                       : model_->pieces.at(static_cast<uint32_t>(ids[i]));
    switch (decoder_) {
      case Decoder::spaced:
        if (i > 0) out += ' ';
        out += piece;
        break;
      case Decoder::metaspace:
        for (size_t p = 0; p < piece.size();) {
          if (piece.substr(p, kSpace.size()) == kSpace) {
            if (i > 0 || !dropsFirstSpace_) out += ' ';
            p += kSpace.size();
          } else {
            out += piece[p++];
          }
        }
        break;
      case Decoder::sentencePiece: {
        unsigned byte = 0;
        const bool isByte = piece.size() == 6 && piece.starts_with("<0x") && piece.ends_with('>') &&
                            std::sscanf(std::string(piece.substr(3, 2)).c_str(), "%2x", &byte) == 1;
        if (isByte) {
          bytes.push_back(static_cast<char>(byte));
          break;
        }
        flush();
        for (size_t p = 0; p < piece.size();) {
          if (piece.substr(p, kSpace.size()) == kSpace) {
            out += ' ';
            p += kSpace.size();
          } else {
            out += piece[p++];
          }
        }
        break;
      }
      case Decoder::wordPiece: {
        const bool continues = i > 0 && piece.starts_with("##");
        std::string word = i > 0 && !continues ? " " : "";
        word += continues ? piece.substr(2) : piece;
        out += tidied(std::move(word));
        break;
      }
      case Decoder::byteLevel:
        for (size_t p = 0; p < piece.size();) {
          const size_t from = p;
          const int byte = byteOfSymbol(next(piece, p));
          if (byte >= 0)
            out.push_back(static_cast<char>(byte));
          else
            out += piece.substr(from, p - from);
        }
        break;
    }
  }
  flush();
  return out;
}

}  // namespace clip::tokenizer
