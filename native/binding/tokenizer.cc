// NativeTokenizer: opens a vocabulary on the pool, and converts texts to ids. Methods are closures over the
// tokenizer, as in matrix.cc.
#include <algorithm>
#include <optional>

#include "binding/job.h"
#include "binding/surface.h"
#include "ops/call.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace clip::binding {
namespace {

using tokenizer::Class;
using tokenizer::Ids;
using Opened = std::shared_ptr<const tokenizer::Tokenizer>;

Napi::Value toJs(Napi::Env env, const Ids& ids) {
  Napi::Int32Array array = Napi::Int32Array::New(env, ids.size());
  std::copy(ids.begin(), ids.end(), array.Data());
  return array;
}

// Writes the first `room` ids of one text and returns the number of all its ids.
int32_t putIds(const Opened& from, std::string_view text, bool special, int32_t* to, size_t room) {
  Ids ids;
  from->encode(text, special, ids);
  const size_t kept = std::min(ids.size(), room);
  std::copy(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(kept), to);
  return static_cast<int32_t>(std::min<size_t>(ids.size(), INT32_MAX));
}

// Encodes many texts, stored one after the other in UTF-8; text i ends at ends[i].
Napi::Value encode(const Napi::CallbackInfo& info, const Opened& from) {
  const Fields f(info[0], "");
  const Elements<uint8_t> bytes = f.typed<uint8_t>("bytes");
  const int texts = f.integer("texts", 1), room = f.integer("room", 1, 1 << 20);
  std::vector<int32_t> ends =
      f.indices("ends", static_cast<size_t>(texts), 0, static_cast<int64_t>(bytes.length));
  if (!std::is_sorted(ends.begin(), ends.end()) || static_cast<size_t>(ends.back()) != bytes.length)
    wrong("ends", "go up to the number of bytes", std::to_string(ends.back()));
  const bool special = f.boolean("special");
  Environment::Call call;
  call.keep.emplace_back(bytes.array, "bytes", Loan::Use::read);
  call.keep.emplace_back(
      f.typed<int32_t>("ids", ops::product({static_cast<size_t>(texts), static_cast<size_t>(room)})).array,
      "ids", Loan::Use::write);
  call.keep.emplace_back(f.typed<int32_t>("counts", static_cast<size_t>(texts)).array, "counts",
                         Loan::Use::write);
  const auto* const text = call.keep[0].as<char>();
  auto* const ids = call.keep[1].as<int32_t>();
  auto* const counts = call.keep[2].as<int32_t>();
  call.result = [](Napi::Env env) -> Napi::Value { return env.Undefined(); };
  return Environment::of(info.Env()).beginOnPool(std::move(call), [=, ends = std::move(ends)] {
    size_t start = 0;
    for (size_t i = 0; i < ends.size(); ++i) {
      const auto end = static_cast<size_t>(ends[i]);
      // A copy, because JavaScript may change the bytes while they are read.
      const std::string own(text + start, end - start);
      if (!tokenizer::isValid(own))
        throw Error{.code = "ERR_CLIP_INPUT", .message = "Expected `bytes` to be UTF-8", .field = "bytes"};
      counts[i] = putIds(from, own, special, ids + i * static_cast<size_t>(room), static_cast<size_t>(room));
      start = end;
    }
  });
}

Napi::Value encodeNow(const Napi::CallbackInfo& info, const Opened& from) {
  Ids ids;
  from->encode(readString(info[0], "text"), readBoolean(info[1], "special"), ids);
  return toJs(info.Env(), ids);
}

Napi::Value decode(const Napi::CallbackInfo& info, const Opened& from) {
  const Elements<int32_t> ids = readTyped<int32_t>(info[0], "ids");
  for (size_t i = 0; i < ids.length; ++i)
    if (!from->isId(ids.data[i]))
      wrong("ids[" + std::to_string(i) + "]", "be an id of this vocabulary", std::to_string(ids.data[i]));
  return Napi::String::New(info.Env(), from->decode(ids.data, ids.length));
}

Napi::Value isId(const Napi::CallbackInfo& info, const Opened& from) {
  const auto id = static_cast<int32_t>(readInteger(info[0], "id", INT32_MIN, INT32_MAX));
  return Napi::Boolean::New(info.Env(), from->isId(id));
}

Napi::Value makeTokenizer(Napi::Env env, const Opened& opened) {
  const Napi::Object o = Napi::Object::New(env);
  const auto add = [&](const char* name, Napi::Value (*body)(const Napi::CallbackInfo&, const Opened&),
                       bool promises) {
    o.Set(name, Napi::Function::New(
                    env,
                    [=](const Napi::CallbackInfo& info) {
                      const auto run = [&]() -> Napi::Value { return body(info, opened); };
                      return promises ? rejecting(info, run) : throwing(info, run);
                    },
                    name));
  };
  add("encode", encode, true);
  add("encodeNow", encodeNow, false);
  add("isId", isId, false);
  add("decode", decode, false);
  o.Set("kind", opened->kind);
  o.Set("size", opened->size);
  o.Set("prefix", toJs(env, opened->prefix));
  o.Set("suffix", toJs(env, opened->suffix));
  o.Set("padId", opened->padId);
  o.Set("sepId", opened->sepId);
  o.Set("eosId", opened->eosId);
  o.Set("unkId", opened->unkId);
  return o;
}

tokenizer::Settings readSettings(const Fields& f) {
  tokenizer::Settings s;
  s.like = f.choice<Class>("class", {{"T5Tokenizer", Class::t5},
                                     {"SiglipTokenizer", Class::siglip},
                                     {"XLMRobertaTokenizer", Class::xlmRoberta},
                                     {"GemmaTokenizer", Class::gemma},
                                     {"Siglip2Tokenizer", Class::siglip2},
                                     {"NllbTokenizer", Class::nllb},
                                     {"BertTokenizer", Class::bert},
                                     {"RobertaTokenizer", Class::roberta},
                                     {"PreTrainedTokenizerFast", Class::generic}});
  const auto flag = [&](const char* key) {
    return f.has(key) ? std::optional<bool>(f.boolean(key)) : std::nullopt;
  };
  const auto text = [&](const char* key) { return f.has(key) ? f.string(key) : std::string(); };
  s.lowercase = flag("lowercase");
  s.ideographs = flag("ideographs");
  s.accents = flag("accents");
  s.prefixSpace = flag("prefixSpace");
  s.startsWithBos = flag("startsWithBos");
  s.endsWithEos = flag("endsWithEos");
  s.legacyLanguage = flag("legacyLanguage").value_or(false);
  s.language = text("language");
  s.bos = text("bos");
  s.eos = text("eos");
  s.unk = text("unk");
  s.sep = text("sep");
  s.pad = text("pad");
  s.cls = text("cls");
  s.mask = text("mask");
  s.hasAdded = f.has("added");
  if (s.hasAdded) {
    const Napi::Array list = readArray(f.value("added"), "added");
    for (uint32_t i = 0; i < list.Length(); ++i) {
      const Fields t(list.Get(i), "added[" + std::to_string(i) + "]");
      s.added.push_back({.content = t.string("content"),
                         .id = t.integer("id", 0, static_cast<int>(tokenizer::kMostPieces) - 1),
                         .singleWord = t.boolean("singleWord"),
                         .lstrip = t.boolean("lstrip"),
                         .rstrip = t.boolean("rstrip"),
                         .normalized = t.boolean("normalized"),
                         .special = t.has("special") && t.boolean("special")});
    }
  }
  if (f.has("extra")) {
    const Napi::Array list = readArray(f.value("extra"), "extra");
    for (uint32_t i = 0; i < list.Length(); ++i) s.extra.push_back(readString(list.Get(i), "extra"));
  }
  return s;
}

}  // namespace

Napi::Value openTokenizer(const Napi::CallbackInfo& info) {
  return rejecting(info, [&]() -> Napi::Value {
    const Fields f(info[0], "");
    struct Work {
      std::string file, mergesFile;
      tokenizer::Settings settings;
      Opened opened;
    };
    const auto work = std::make_shared<Work>();
    work->file = f.string("file");
    work->settings = readSettings(f);
    enum class Format { json, sentencePiece, lines, merges };
    const Format format = f.choice<Format>("format", {{"json", Format::json},
                                                      {"sentencePiece", Format::sentencePiece},
                                                      {"lines", Format::lines},
                                                      {"merges", Format::merges}});
    Environment::Call call;
    // No other code has these arrays: lib has read the files into memory of its own.
    const auto lend = [&](const char* key) {
      const Elements<uint8_t> bytes = f.typed<uint8_t>(key);
      call.keep.emplace_back(bytes.array, key, Loan::Use::own);
      call.spend.push_back(bytes.array);
      return std::string_view(call.keep.back().as<char>(), bytes.length);
    };
    const std::string_view bytes = lend("bytes");
    std::string_view merges;
    if (format == Format::merges) {
      work->mergesFile = f.string("mergesFile");
      merges = lend("merges");
    }
    call.result = [work](Napi::Env env) { return makeTokenizer(env, work->opened); };
    return Environment::of(info.Env()).beginOnPool(std::move(call), [=] {
      tokenizer::Contents contents =
          format == Format::json            ? tokenizer::readTokenizerJson(bytes, work->file)
          : format == Format::sentencePiece ? tokenizer::readSentencePiece(bytes, work->file)
          : format == Format::lines
              ? tokenizer::readLines(bytes, work->file)
              : tokenizer::readVocabularyAndMerges(bytes, work->file, merges, work->mergesFile);
      work->opened = std::make_shared<const tokenizer::Tokenizer>(std::move(contents), work->settings);
    });
  });
}

}  // namespace clip::binding
