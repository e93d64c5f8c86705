// Vocabularies of every format, damaged, read as every class, and texts through what can be read.
#include <algorithm>
#include <string>
#include <vector>

#include "case_support.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace clip::fuzz {
namespace {

using namespace clip::tokenizer;

const char* const kUnigram =
    R"({"version":"1.0","added_tokens":[{"id":0,"content":"<pad>","special":true},{"id":1,"content":"</s>","special":true,"lstrip":true},)"
    R"({"id":7,"content":"cat","single_word":true,"rstrip":true,"normalized":true}],"normalizer":{"type":"Sequence","normalizers":[)"
    R"({"type":"NFKC"},{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "},{"type":"Strip","strip_left":true,"strip_right":true}]},)"
    R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace","replacement":"\u2581","prepend_scheme":"always"}]},)"
    R"("post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"</s>"}}],"special_tokens":{"</s>":{"ids":[1]}}},)"
    R"("decoder":{"type":"Metaspace"},"model":{"type":"Unigram","unk_id":2,"byte_fallback":true,"vocab":[["<pad>",0],["</s>",0],["<unk>",0],)"
    R"(["\u2581a",-1.5],["\u2581",-2],["a",-3.25],["b",-3],["\u2581cat",-4e0],["at",-5],["<0x41>",-9],["\u00e9",-4]]}})";
const char* const kBpe =
    R"({"added_tokens":[{"id":0,"content":"<pad>","special":true}],"normalizer":{"type":"Sequence","normalizers":[{"type":"Lowercase"},)"
    R"({"type":"Replace","pattern":{"String":" "},"content":"\u2581"},{"type":"Prepend","prepend":"a"}]},"pre_tokenizer":{"type":"Split","pattern":{"String":" "},)"
    R"("behavior":"MergedWithPrevious","invert":false},"post_processor":{"type":"BertProcessing","sep":["<eos>",1],"cls":["<pad>",0]},)"
    R"("decoder":{"type":"Sequence","decoders":[]},"model":{"type":"BPE","unk_token":"<unk>","continuing_subword_prefix":null,"end_of_word_suffix":null,)"
    R"("fuse_unk":true,"byte_fallback":true,"vocab":{"<pad>":0,"<eos>":1,"<bos>":2,"<unk>":3,"a":4,"b":5,"c":6,"ab":7,"abc":8,"bc":9,"\u2581":10,"\u2581a":11,)"
    R"("<s>":12,"</s>":13,"eng_Latn":14,"<0xC3>":15,"<0xA9>":16},"merges":["a b",["ab","c"],"b c","\u2581 a","a bc"]}})";
const char* const kByteLevel =
    R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":true,"use_regex":true},"post_processor":{"type":"RobertaProcessing","sep":["</s>",1],"cls":["<s>",0]},)"
    R"("decoder":{"type":"ByteLevel"},"model":{"type":"BPE","unk_token":"<unk>","vocab":{"<s>":0,"</s>":1,"<unk>":2,"a":3,"b":4,"\u0120":5,"\u0120a":6,"ab":7,"\u00c3":8,"\u00a9":9},)"
    R"("merges":["\u0120 a","a b"]}})";
const char* const kWordPiece =
    R"({"added_tokens":[{"id":0,"content":"[PAD]","special":true}],"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},)"
    R"("pre_tokenizer":{"type":"BertPreTokenizer"},"decoder":{"type":"WordPiece"},"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",)"
    R"("max_input_chars_per_word":100,"vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"a":4,"##b":5,"cat":6,"##s":7,"e":8,".":9}}})";
const char* const kLines = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\ncat\r\n##s\ne\n.\n";

void putVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}
void putNumber(std::string& out, unsigned field, uint64_t value) {
  putVarint(out, field << 3);
  putVarint(out, value);
}
void putBytes(std::string& out, unsigned field, const std::string& bytes) {
  putVarint(out, field << 3 | 2);
  putVarint(out, bytes.size());
  out += bytes;
}

// A trie that replaces "A" with "a", by hand: the root, a unit for the byte, its leaf.
std::string charsmap() {
  std::vector<uint32_t> units(512);
  const auto offset = [](uint32_t to) { return to << 10; };
  units[0] = offset(256);
  units[256 ^ 'A'] = 'A' | 1u << 8 | offset((256 ^ 'A') ^ 300);
  units[300] = 0x80000000u;
  std::string blob;
  const auto put = [&](uint32_t value) {
    for (int i = 0; i < 4; ++i) blob.push_back(static_cast<char>(value >> 8 * i));
  };
  put(static_cast<uint32_t>(units.size() * 4));
  for (const uint32_t unit : units) put(unit);
  return blob + "a" + '\0';
}

std::string sentencePiece(bool bpe) {
  std::string out;
  const auto piece = [&](const char* spelling, uint32_t score, unsigned kind) {
    std::string one;
    putBytes(one, 1, spelling);
    putVarint(one, 2 << 3 | 5);
    for (int i = 0; i < 4; ++i) one.push_back(static_cast<char>(score >> 8 * i));
    putNumber(one, 3, kind);
    putBytes(out, 1, one);
  };
  const unsigned unknown = 2, control = 3;
  piece("<pad>", 0, control), piece("</s>", 0, control), piece("<unk>", 0, unknown);
  for (const char* one : {"\xe2\x96\x81", "a", "b", "ab",
                          "\xe2\x96\x81"
                          "a",
                          "c", "cab"})
    piece(one, 0xc0400000u, 1);
  piece("sep", 0, 4);
  std::string trainer, normalizer;
  putNumber(trainer, 3, bpe ? 2 : 1);
  putNumber(trainer, 40, 2);
  putBytes(normalizer, 2, charsmap());
  putNumber(normalizer, 3, 1);
  putBytes(out, 2, trainer);
  putBytes(out, 3, normalizer);
  return out;
}

void damage(std::string& data, Choices& c) {
  static const char* const kWords[] = {"null",
                                       "true",
                                       "-1",
                                       "1e999",
                                       "4294967296",
                                       "[",
                                       "]",
                                       "{",
                                       "}",
                                       "\"",
                                       "\\u",
                                       "\\ud800",
                                       ",",
                                       ":",
                                       "\xff",
                                       "\xe2\x96",
                                       "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["};
  for (int n = static_cast<int>(c.below(4)); n > 0 && !data.empty(); --n) {
    const size_t at = c.below(data.size());
    switch (c.below(7)) {
      case 0:
        data[at] = static_cast<char>(c.below(256));
        break;
      case 1:
        data[at] = static_cast<char>(data[at] ^ 1 << c.below(8));
        break;
      case 2:
        data.erase(at, 1 + c.below(40));
        break;
      case 3:
        data.insert(at, data.substr(at, 1 + c.below(60)));
        break;
      case 4:
        data.insert(at, c.pick(kWords));
        break;
      case 5:
        data.replace(at, std::min<size_t>(data.size() - at, 1 + c.below(12)), c.pick(kWords));
        break;
      default:
        if (c.oneIn(4)) data.resize(at);
    }
  }
}

std::string anyText(Choices& c) {
  static const char* const kParts[] = {"a",
                                       "b",
                                       "ab",
                                       "cat",
                                       "cats",
                                       " ",
                                       "  ",
                                       "A",
                                       "\xc3\xa9",
                                       "e\xcc\x81",
                                       "\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa",
                                       "</s>",
                                       "[SEP]",
                                       "<pad>",
                                       ".",
                                       "'s",
                                       "1",
                                       "\n",
                                       "\xe2\x80\x8d",
                                       "\xe4\xb8\xad",
                                       "\xea\xb0\x81",
                                       "sep",
                                       "\xe0\xa4\x95\xe0\xa5\x8d\xe0\xa4\xb7",
                                       "\xc2\x85"};
  std::string text;
  const bool any = c.oneIn(3);
  for (uint64_t n = c.below(any ? 40 : 12); n > 0; --n) {
    if (any) {
      char32_t one = static_cast<char32_t>(c.below(c.oneIn(2) ? 0x3000 : 0x110000));
      if (one >= 0xd800 && one < 0xe000) one = U'x';
      append(text, one);
    } else {
      text += c.pick(kParts);
    }
  }
  if (c.oneIn(40)) {
    const std::string once = text;
    for (int n = 0; n < 200; ++n) text += once;
  }
  return text;
}

}  // namespace

End vocabularyCase(Choices& c) {
  enum { unigram, bpe, byteLevel, wordPiece, lines, model, bpeModel, pair };
  const int format = static_cast<int>(c.below(8));
  std::string data = format == unigram     ? kUnigram
                     : format == bpe       ? kBpe
                     : format == byteLevel ? kByteLevel
                     : format == wordPiece ? kWordPiece
                     : format == lines     ? kLines
                     : format == pair      ? R"({"<s>":0,"</s>":1,"a":2,"b":3,"ab":4})"
                                           : sentencePiece(format == bpeModel);
  damage(data, c);
  Settings s;
  s.like = c.pick({Class::t5, Class::siglip, Class::xlmRoberta, Class::gemma, Class::siglip2, Class::nllb,
                   Class::bert, Class::roberta, Class::generic});
  // Most damage is to be behind the first check.
  if (c.oneIn(2)) {
    const Class fitting[] = {Class::t5,   Class::gemma,  Class::roberta, Class::bert,
                             Class::bert, Class::siglip, Class::nllb,    Class::roberta};
    s.like = c.oneIn(3) ? Class::generic : fitting[format];
  }
  s.bos = s.cls = s.like == Class::bert ? "[CLS]" : "<s>";
  s.eos = s.sep = s.like == Class::bert ? "[SEP]" : s.like == Class::gemma ? "<eos>" : "</s>";
  s.unk = s.like == Class::bert ? "[UNK]" : "<unk>";
  s.pad = s.like == Class::bert ? "[PAD]" : "<pad>";
  s.language = "eng_Latn";
  s.extra = {"eng_Latn"};
  if (c.oneIn(4)) {
    s.hasAdded = true;
    s.added.push_back({.content = c.oneIn(2) ? " " : "ab",
                       .id = static_cast<int32_t>(c.below(40)),
                       .lstrip = c.oneIn(2),
                       .rstrip = c.oneIn(2)});
  }
  try {
    std::string merges = "#version: 0.2\na b\n";
    if (format == pair) damage(merges, c);
    const Tokenizer tokenizer(format == lines                         ? readLines(data, "file")
                              : format == model || format == bpeModel ? readSentencePiece(data, "file")
                              : format == pair ? readVocabularyAndMerges(data, "file", merges, "merges")
                                               : readTokenizerJson(data, "file"),
                              s);
    for (int n = 0; n < 4; ++n) {
      const std::string text = anyText(c);
      Ids ids;
      tokenizer.encode(text, c.oneIn(2), ids);
      for (const int32_t id : ids)
        if (!tokenizer.isId(id)) fault("a text has an id that is none");
      if (!isValid(tokenizer.decode(ids.data(), ids.size())) && s.like != Class::roberta &&
          s.like != Class::generic)
        fault("the text of ids is not UTF-8");
    }
    for (const Ids* around : {&tokenizer.prefix, &tokenizer.suffix})
      for (const int32_t id : *around)
        if (!tokenizer.isId(id)) fault("a prefix or suffix is no id");
    return End::done;
  } catch (const Error& error) {
    if (error.code != "ERR_CLIP_CHECKPOINT" || error.message.empty() || !isValid(error.message))
      fault("an error without a name");
    return End::refused;
  }
}

}  // namespace clip::fuzz
