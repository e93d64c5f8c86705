#include "tokenizer/unicode.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/utf8.h"

namespace clip::tokenizer {
namespace {

enum Grapheme : uint8_t {
  kOther,
  kControl,
  kExtend,
  kLinker,  // also has the property Extend
  kZWJ,
  kRegionalIndicator,
  kPrepend,
  kSpacingMark,
  kL,
  kV,
  kT,
  kLV,
  kLVT,
  kPictographic,
  kConsonant,
};

struct Range {
  uint32_t first, last;
};
struct ClassRange {
  uint32_t first, last, kind;
};
// The position in a list of texts at which a character's replacement begins, preceded by its length.
struct Mapping {
  uint32_t from, at;
};
// Characters from first to last, step apart, each of which becomes the one at the distance delta.
struct Run {
  uint32_t first, last;
  uint32_t step;
  int32_t delta;
};
struct Pair {
  uint32_t first, second, composed;
};

#include "tokenizer/unicode_tables.inl"

// The rows of a table: of each number its difference from that of the row before, in base 64 as in source maps.
template <class Row, size_t kFields = sizeof(Row) / sizeof(uint32_t)>
std::vector<Row> rowsOf(std::string_view table) {
  std::vector<Row> rows;
  std::array<int32_t, kFields> row{};
  size_t at = 0;
  while (at < table.size()) {
    for (int32_t& number : row) {
      uint32_t value = 0, digit = 32;
      for (int shift = 0; digit & 32; shift += 5) {
        const char c = table[at++];
        digit = c >= 'a' ? c - 'a' + 26 : c >= 'A' ? c - 'A' : c >= '0' ? c - '0' + 52 : (c == '+' ? 62 : 63);
        value |= (digit & 31) << shift;
      }
      number += value & 1 ? -static_cast<int32_t>(value >> 1) : static_cast<int32_t>(value >> 1);
    }
    rows.push_back(std::bit_cast<Row>(row));
  }
  return rows;
}

template <class R>
const R* rangeOf(std::span<const R> ranges, char32_t c) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), c, [](char32_t x, const R& r) { return x < r.first; });
  if (after == ranges.begin()) return nullptr;
  const R* found = &*(after - 1);
  return c <= found->last ? found : nullptr;
}

bool isIn(std::span<const Range> ranges, char32_t c) { return rangeOf<Range>(ranges, c) != nullptr; }

uint8_t classOf(std::span<const ClassRange> ranges, char32_t c) {
  const ClassRange* r = rangeOf<ClassRange>(ranges, c);
  return r ? static_cast<uint8_t>(r->kind) : 0;
}

// One table of replacements.
struct Map {
  std::vector<Run> runs;
  std::vector<Mapping> longer;
  std::vector<uint32_t> texts;
};

struct Tables {
  std::vector<Range> letters = rowsOf<Range>(kLetters), numbers = rowsOf<Range>(kNumbers),
                     word = rowsOf<Range>(kWord), bertControl = rowsOf<Range>(kBertControl),
                     bertNonspacing = rowsOf<Range>(kBertNonspacing),
                     bertPunctuation = rowsOf<Range>(kBertPunctuation),
                     bertIdeographs = rowsOf<Range>(kBertIdeographs);
  std::vector<ClassRange> graphemes = rowsOf<ClassRange>(kGraphemes),
                          combining = rowsOf<ClassRange>(kCombining);
  Map lowerCase = {rowsOf<Run>(kLowerRuns), rowsOf<Mapping>(kLower), rowsOf<uint32_t>(kLowerTexts)};
  Map decomposed = {rowsOf<Run>(kCanonicalRuns), rowsOf<Mapping>(kCanonical),
                    rowsOf<uint32_t>(kCanonicalTexts)};
  Map simplified = {rowsOf<Run>(kCompatibleRuns), rowsOf<Mapping>(kCompatible),
                    rowsOf<uint32_t>(kCompatibleTexts)};
  std::vector<Pair> compositions = rowsOf<Pair>(kCompositions);
};

// Read at first use.
const Tables& tables() {
  static const Tables made;
  return made;
}

// Puts the characters that replace c. False: c is not replaced.
template <class F>
bool replace(const Map& map, char32_t c, F put) {
  if (const Run* run = rangeOf<Run>(map.runs, c); run && (c - run->first) % run->step == 0) {
    put(static_cast<char32_t>(static_cast<int32_t>(c) + run->delta));
    return true;
  }
  const auto at = std::lower_bound(map.longer.begin(), map.longer.end(), c,
                                   [](const Mapping& m, char32_t x) { return m.from < x; });
  if (at == map.longer.end() || at->from != c) return false;
  for (uint32_t i = 0; i < map.texts[at->at]; ++i) put(static_cast<char32_t>(map.texts[at->at + 1 + i]));
  return true;
}

constexpr char32_t kHangul = 0xac00, kLeading = 0x1100, kVowel = 0x1161, kTrailing = 0x11a7;
constexpr char32_t kVowels = 21, kTrailings = 28, kSyllables = 11172;

Grapheme graphemeOf(char32_t c) {
  if (c < 0x80) return c < 0x20 || c == 0x7f ? kControl : kOther;
  if (c - kHangul < kSyllables) return (c - kHangul) % kTrailings == 0 ? kLV : kLVT;
  return static_cast<Grapheme>(classOf(tables().graphemes, c));
}

struct Ordered {
  char32_t c;
  uint8_t kind;  // combining class, in canonical order; 0 for starters
};

// Emits the characters into which c decomposes.
template <class F>
void decompose(char32_t c, bool compatible, F put) {
  if (c < 0xa0) return put(c);
  if (c - kHangul < kSyllables) {
    const char32_t index = c - kHangul;
    put(kLeading + index / (kVowels * kTrailings));
    put(kVowel + index / kTrailings % kVowels);
    if (index % kTrailings) put(kTrailing + index % kTrailings);
    return;
  }
  if (compatible && replace(tables().simplified, c, put)) return;
  if (!replace(tables().decomposed, c, put)) put(c);
}

// Returns 0 if they do not compose.
char32_t compose(char32_t a, char32_t b) {
  if (a - kLeading < 19 && b - kVowel < kVowels)
    return kHangul + ((a - kLeading) * kVowels + (b - kVowel)) * kTrailings;
  if (a - kHangul < kSyllables && (a - kHangul) % kTrailings == 0 && b > kTrailing &&
      b < kTrailing + kTrailings)
    return a + (b - kTrailing);
  const auto end = tables().compositions.end();
  const auto at = std::lower_bound(tables().compositions.begin(), end, std::pair(a, b),
                                   [](const Pair& p, const std::pair<char32_t, char32_t>& x) {
                                     return std::pair<char32_t, char32_t>(p.first, p.second) < x;
                                   });
  return at != end && at->first == a && at->second == b ? at->composed : 0;
}

}  // namespace

bool isSpace(char32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}
bool isLetter(char32_t c) {
  return c < 0x80 ? (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') : isIn(tables().letters, c);
}
bool isNumber(char32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : isIn(tables().numbers, c); }
bool isWord(char32_t c) { return isIn(tables().word, c); }
bool isBertControl(char32_t c) { return isIn(tables().bertControl, c); }
bool isBertNonspacing(char32_t c) { return c >= 0x300 && isIn(tables().bertNonspacing, c); }
bool isBertPunctuation(char32_t c) { return isIn(tables().bertPunctuation, c); }
bool isBertIdeograph(char32_t c) { return c >= 0x3400 && isIn(tables().bertIdeographs, c); }

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next(text, at);
    if (c < 0x80) {
      out.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
      continue;
    }
    const auto put = [&](char32_t part) { append(out, part); };
    if (!replace(tables().lowerCase, c, put)) put(c);
  }
  return out;
}

size_t graphemeEnd(std::string_view text, size_t at) {
  const char32_t first = next(text, at);
  if (first == '\r') return at < text.size() && text[at] == '\n' ? at + 1 : at;
  Grapheme before = graphemeOf(first);
  if (before == kControl) return at;
  bool oddFlags = before == kRegionalIndicator;
  // State of two rules: a pictograph, followed by extenders and a joiner; a consonant, followed by extenders
  // that include a linker.
  bool picture = before == kPictographic, joined = false;
  bool conjunct = before == kConsonant, linked = false;
  while (at < text.size()) {
    size_t after = at;
    const char32_t c = next(text, after);
    const Grapheme here = graphemeOf(c);
    const bool extends = here == kExtend || here == kLinker || here == kZWJ;
    bool joins = extends || here == kSpacingMark || before == kPrepend;
    if (here == kControl) joins = false;
    if (before == kL)
      joins |= here == kL || here == kV || here == kLV || here == kLVT;
    else if (before == kLV || before == kV)
      joins |= here == kV || here == kT;
    else if (before == kLVT || before == kT)
      joins |= here == kT;
    else if (before == kRegionalIndicator)
      joins |= here == kRegionalIndicator && oddFlags;
    joins |= joined && here == kPictographic;
    joins |= linked && here == kConsonant;
    if (!joins) return at;
    oddFlags = here == kRegionalIndicator && !(before == kRegionalIndicator && oddFlags);
    joined = picture && here == kZWJ;
    picture = here == kPictographic || (picture && (here == kExtend || here == kLinker));
    if (here == kConsonant) {
      conjunct = true, linked = false;
    } else if (conjunct && extends && c != 0x200c) {
      linked |= here == kLinker;
    } else {
      conjunct = linked = false;
    }
    before = here;
    at = after;
  }
  return at;
}

std::string normalized(std::string_view text, Normal form) {
  const bool compatible = form == Normal::NFKC || form == Normal::NFKD;
  const bool composes = form == Normal::NFC || form == Normal::NFKC;
  std::string out;
  out.reserve(text.size());
  // A starter and the characters that may combine with it.
  std::vector<Ordered> run;
  char32_t starter = 0;
  bool hasStarter = false;
  const auto flush = [&] {
    std::stable_sort(run.begin(), run.end(),
                     [](const Ordered& a, const Ordered& b) { return a.kind < b.kind; });
    if (!composes) {
      for (const Ordered& one : run) append(out, one.c);
      run.clear();
      return;
    }
    size_t kept = 0;
    uint8_t last = 0;
    for (const Ordered& one : run) {
      if (hasStarter && (kept == 0 || last < one.kind))
        if (const char32_t both = compose(starter, one.c)) {
          starter = both;
          continue;
        }
      last = one.kind;
      run[kept++] = one;
    }
    run.resize(kept);
  };
  const auto close = [&] {
    if (hasStarter) append(out, starter);
    for (const Ordered& one : run) append(out, one.c);
    run.clear();
    hasStarter = false;
  };
  for (size_t at = 0; at < text.size();) {
    decompose(next(text, at), compatible, [&](char32_t c) {
      const uint8_t kind = c < 0x300 ? 0 : classOf(tables().combining, c);
      if (kind) {
        run.push_back({c, kind});
        return;
      }
      flush();
      if (!composes) {
        append(out, c);
        return;
      }
      // A starter that composes with the previous one, if nothing is between them.
      if (hasStarter && run.empty())
        if (const char32_t both = compose(starter, c)) {
          starter = both;
          return;
        }
      close();
      starter = c;
      hasStarter = true;
    });
  }
  flush();
  if (composes) close();
  return out;
}

}  // namespace clip::tokenizer
