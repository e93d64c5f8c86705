#include "tokenizer/pipeline.h"

#include <array>
#include <utility>

#include "tokenizer/utf8.h"

namespace clip::tokenizer {
namespace {

// ---- Normalizers

std::string replaced(std::string_view text, const std::string& from, const std::string& to) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, done)) {
    out += text.substr(done, at - done);
    out += to;
    done = at + from.size();
  }
  return out += text.substr(done);
}

std::string withoutRuns(std::string_view text, const ReplaceRuns& step) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    size_t end = at, count = 0;
    while (text.substr(end, step.of.size()) == step.of) end += step.of.size(), ++count;
    if (count >= 2) {
      out += step.to;
      at = end;
    } else {
      out += text[at++];
    }
  }
  return out;
}

std::string stripped(std::string_view text, const Strip& step) {
  if (step.left)
    for (size_t at = 0; at < text.size();) {
      size_t after = at;
      if (!isSpace(next(text, after))) {
        text.remove_prefix(at);
        break;
      }
      at = after;
      if (at == text.size()) text = {};
    }
  while (step.right && !text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;
    size_t at = last;
    if (!isSpace(next(text, at))) break;
    text = text.substr(0, last);
  }
  return std::string(text);
}

std::string bert(std::string text, const BertNormalizer& step) {
  std::string out;
  const auto each = [&](auto put) {
    out.clear();
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();) put(next(text, at));
    text.swap(out);
  };
  if (step.clean)
    each([&](char32_t c) {
      if (!isBertControl(c)) append(out, isSpace(c) ? U' ' : c);
    });
  if (step.ideographs)
    each([&](char32_t c) {
      const bool ideograph = isBertIdeograph(c);
      if (ideograph) out += ' ';
      append(out, c);
      if (ideograph) out += ' ';
    });
  if (step.accents) {
    text = normalized(text, Normal::NFD);
    each([&](char32_t c) {
      if (!isBertNonspacing(c)) append(out, c);
    });
  }
  return step.lowercase ? lower(text) : text;
}

std::string sentencePiece(std::string_view text, const SentencePieceNormalizer& step) {
  const std::string_view space = step.escapeSpaces ? "\xe2\x96\x81" : " ";
  std::string out;
  if (text.empty()) return out;
  out.reserve(text.size() + 3);
  const auto nextPiece = [&](size_t& at) -> std::string_view {
    size_t longest = 0;
    for (const std::string& symbol : step.userDefined)
      if (symbol.size() > longest && text.substr(at, symbol.size()) == symbol) longest = symbol.size();
    const size_t from = at;
    if (longest) {
      at += longest;
      return text.substr(from, longest);
    }
    if (step.map) return step.map->nextLongest(text, at);
    next(text, at);
    return text.substr(from, at - from);
  };
  size_t at = 0;
  if (step.removeSpaces)
    while (at < text.size()) {
      size_t after = at;
      if (nextPiece(after) != " ") break;
      at = after;
    }
  if (at == text.size()) return out;
  if (step.dummyPrefix) out += space;
  bool afterSpace = step.removeSpaces;
  while (at < text.size()) {
    std::string_view piece = nextPiece(at);
    while (afterSpace && piece.starts_with(' ')) piece.remove_prefix(1);
    if (!piece.empty()) {
      for (const char c : piece)
        if (c == ' ')
          out += space;
        else
          out += c;
      afterSpace = piece.ends_with(' ');
    }
    if (!step.removeSpaces) afterSpace = false;
  }
  if (step.removeSpaces)
    while (out.ends_with(space)) out.resize(out.size() - space.size());
  return out;
}

// ---- Pre-tokenizers

// Splits a word: cut(text, put) calls put(from, to) for each part that is kept.
template <class F>
void cutEach(std::vector<Word>& words, F cut) {
  std::vector<Word> parts;
  parts.reserve(words.size());
  for (Word& word : words)
    cut(std::string_view(word.text), [&](size_t from, size_t to) {
      if (from < to) parts.push_back({word.text.substr(from, to - from), word.first && from == 0});
    });
  words = std::move(parts);
}

void atWhitespace(std::vector<Word>& words) {
  cutEach(words, [](std::string_view text, auto put) {
    size_t begin = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t from = at;
      if (!isSpace(next(text, at))) continue;
      put(begin, from);
      begin = at;
    }
    put(begin, text.size());
  });
}

void atString(std::vector<Word>& words, const Split& step) {
  cutEach(words, [&](std::string_view text, auto put) {
    const std::string_view mark = step.at;
    size_t done = 0;
    size_t at = mark.empty() ? std::string_view::npos : text.find(mark);
    while (at != std::string_view::npos) {
      size_t end = at + mark.size();
      switch (step.keep) {
        case Split::Keep::removed:
          put(done, at);
          done = end;
          break;
        case Split::Keep::isolated:
          put(done, at);
          put(at, end);
          done = end;
          break;
        case Split::Keep::withPrevious:
          // A match directly after another match is not preceded by anything to which it could be joined.
          put(done, end);
          done = end;
          break;
        case Split::Keep::withNext:
          put(done, at);
          done = at;
          break;
        case Split::Keep::contiguous:
          while (text.substr(end, mark.size()) == mark) end += mark.size();
          put(done, at);
          put(at, end);
          done = end;
          break;
      }
      at = text.find(mark, end);
    }
    put(done, text.size());
  });
}

void metaspace(std::vector<Word>& words, const Metaspace& step) {
  for (Word& word : words) {
    if (word.text.empty()) continue;
    word.text = replaced(word.text, " ", step.replacement);
    const bool wanted =
        step.prefix == Metaspace::Prefix::always || (step.prefix == Metaspace::Prefix::first && word.first);
    if (wanted && !word.text.starts_with(step.replacement)) word.text.insert(0, step.replacement);
  }
  if (step.split) atString(words, {step.replacement, Split::Keep::withNext});
}

void atBertPunctuation(std::vector<Word>& words) {
  atWhitespace(words);
  cutEach(words, [](std::string_view text, auto put) {
    size_t begin = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t from = at;
      if (!isBertPunctuation(next(text, at))) continue;
      put(begin, from);
      put(from, at);
      begin = at;
    }
    put(begin, text.size());
  });
}

// GPT-2's pattern: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t endOfGptWord(std::string_view text, size_t from) {
  if (text[from] == '\'')
    for (const std::string_view contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
      if (text.substr(from, contraction.size()) == contraction) return from + contraction.size();
  enum class Kind { letter, number, space, other };
  const auto kindOf = [](char32_t c) {
    return isLetter(c) ? Kind::letter : isNumber(c) ? Kind::number : isSpace(c) ? Kind::space : Kind::other;
  };
  size_t at = from;
  Kind kind = kindOf(next(text, at));
  if (text[from] == ' ' && at < text.size()) {
    size_t after = at;
    const Kind second = kindOf(next(text, after));
    if (second != Kind::space) kind = second, at = after;
  }
  size_t last = from;  // start of the last character
  while (at < text.size()) {
    size_t after = at;
    if (kindOf(next(text, after)) != kind) break;
    last = at;
    at = after;
  }
  // The last character of white space is left to the word that follows, if there are at least two.
  return kind == Kind::space && at < text.size() && last > from ? last : at;
}

void byteLevel(std::vector<Word>& words, const ByteLevel& step) {
  if (step.prefixSpace)
    for (Word& word : words)
      if (!word.text.empty() && word.text[0] != ' ') word.text.insert(0, " ");
  if (step.split)
    cutEach(words, [](std::string_view text, auto put) {
      for (size_t at = 0; at < text.size();) {
        const size_t end = endOfGptWord(text, at);
        put(at, end);
        at = end;
      }
    });
  for (Word& word : words) {
    std::string symbols;
    symbols.reserve(word.text.size() * 2);
    for (const char byte : word.text) symbols += symbolOfByte(static_cast<unsigned char>(byte));
    word.text = std::move(symbols);
  }
}

struct ByteSymbols {
  std::array<std::string, 256> symbols;
  std::array<int, 512> bytes;
  ByteSymbols() {
    bytes.fill(-1);
    char32_t spare = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      const char32_t symbol = prints ? byte : spare++;
      append(symbols[byte], symbol);
      bytes[symbol] = static_cast<int>(byte);
    }
  }
};

const ByteSymbols& byteSymbols() {
  static const ByteSymbols symbols;
  return symbols;
}

template <class... F>
struct Each : F... {
  using F::operator()...;
};
template <class... F>
Each(F...) -> Each<F...>;

}  // namespace

const std::string& symbolOfByte(unsigned char byte) { return byteSymbols().symbols[byte]; }

int byteOfSymbol(char32_t symbol) { return symbol < 512 ? byteSymbols().bytes[symbol] : -1; }

std::string normalize(const Normalizer& step, std::string text) {
  return std::visit(
      Each{
          [&](const Precompiled& s) { return s.map->replaceClusters(text); },
          [&](const Lowercase&) { return lower(text); },
          [&](const Normalization& s) { return normalized(text, s.form); },
          [&](const Replace& s) { return s.from.empty() ? std::move(text) : replaced(text, s.from, s.to); },
          [&](const ReplaceRuns& s) { return withoutRuns(text, s); },
          [&](const Prepend& s) { return text.empty() ? std::move(text) : s.text + text; },
          [&](const Strip& s) { return stripped(text, s); },
          [&](const BertNormalizer& s) { return bert(std::move(text), s); },
          [&](const SentencePieceNormalizer& s) { return sentencePiece(text, s); },
      },
      step);
}

bool keepsStart(const Normalizer& step, std::string_view text) {
  if (text.empty()) return true;
  size_t at = 0;
  const char32_t c = next(text, at);
  // A character dropped by Precompiled is not considered, as in the original.
  if (const auto* s = std::get_if<Strip>(&step)) return !(s->left && isSpace(c));
  if (const auto* s = std::get_if<Replace>(&step)) return !(s->to.empty() && text.starts_with(s->from));
  if (const auto* s = std::get_if<BertNormalizer>(&step))
    return !(s->clean && isBertControl(c)) && !(s->accents && isBertNonspacing(c));
  return true;
}

std::vector<Word> preTokenize(const PreTokenizer& step, std::vector<Word> words) {
  std::visit(Each{
                 [&](const WhitespaceSplit&) { atWhitespace(words); },
                 [&](const Metaspace& s) { metaspace(words, s); },
                 [&](const Split& s) { atString(words, s); },
                 [&](const BertPreTokenizer&) { atBertPunctuation(words); },
                 [&](const ByteLevel& s) { byteLevel(words, s); },
             },
             step);
  return words;
}

}  // namespace clip::tokenizer
