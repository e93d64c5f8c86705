#include "tokenizer/charsmap.h"

#include "tokenizer/fault.h"
#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace clip::tokenizer {
namespace {

uint32_t littleEndian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// Accessors for the units of a Darts double-array trie.
bool hasLeaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t valueOf(uint32_t unit) { return unit & 0x7fffffffu; }
uint32_t labelOf(uint32_t unit) { return unit & 0x800000ffu; }
uint32_t offsetOf(uint32_t unit) { return unit >> 10 << ((unit & 0x200u) >> 6); }

}  // namespace

Charsmap::Charsmap(std::string_view blob, const std::string& file, const std::string& field) {
  const size_t bytes = blob.size() < 4 ? 0 : littleEndian(blob, 0);
  if (bytes == 0 || bytes % 4 != 0 || bytes > blob.size() - 4)
    refuse(file, field, "a trie and its replacements",
           std::to_string(blob.size()) + " bytes that begin with a trie of " + std::to_string(bytes));
  units_.resize(bytes / 4);
  for (size_t i = 0; i < units_.size(); ++i) units_[i] = littleEndian(blob, 4 + 4 * i);
  texts_ = blob.substr(4 + bytes);
  if (!isValid(texts_)) refuse(file, field, "replacements in UTF-8", "other bytes");
}

template <class F>
void Charsmap::spellings(std::string_view text, F each) const {
  // In a corrupt trie a unit may refer to any position, so every access is checked.
  size_t node = offsetOf(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0) return;
    node ^= byte;
    if (node >= units_.size()) return;
    const uint32_t unit = units_[node];
    if (labelOf(unit) != byte) return;
    node ^= offsetOf(unit);
    if (hasLeaf(unit)) {
      if (node >= units_.size()) return;
      if (!each(i + 1, valueOf(units_[node]))) return;
    }
  }
}

std::string_view Charsmap::replacement(uint32_t at) const {
  if (at >= texts_.size() || (static_cast<unsigned char>(texts_[at]) & 0xc0) == 0x80) return {};
  const size_t end = texts_.find('\0', at);
  return std::string_view(texts_).substr(at, end == std::string::npos ? end : end - at);
}

std::string_view Charsmap::nextLongest(std::string_view text, size_t& at) const {
  const std::string_view rest = text.substr(at);
  size_t longest = 0;
  uint32_t value = 0;
  spellings(rest, [&](size_t length, uint32_t where) {
    longest = length, value = where;
    return true;
  });
  // In a corrupt trie a spelling may end within a character.
  if (longest == 0 || (longest < rest.size() && (static_cast<unsigned char>(rest[longest]) & 0xc0) == 0x80)) {
    const size_t from = at;
    next(text, at);
    return text.substr(from, at - from);
  }
  at += longest;
  return replacement(value);
}

bool Charsmap::appendFirst(std::string& out, std::string_view part) const {
  bool found = false;
  spellings(part, [&](size_t, uint32_t where) {
    out += replacement(where);
    found = true;
    return false;
  });
  return found;
}

std::string Charsmap::replaceClusters(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t end = graphemeEnd(text, at);
    if (end - at < 6 && appendFirst(out, text.substr(at, end - at))) {
      at = end;
      continue;
    }
    while (at < end) {
      const size_t from = at;
      next(text, at);
      const std::string_view one = text.substr(from, at - from);
      if (!appendFirst(out, one)) out += one;
    }
  }
  return out;
}

}  // namespace clip::tokenizer
