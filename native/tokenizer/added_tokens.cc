#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace clip::tokenizer {
namespace {

// The start of the character before `at`.
size_t before(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80);
  return at;
}

char32_t characterAt(std::string_view text, size_t at) { return next(text, at); }

}  // namespace

void AddedTokens::add(std::string_view spelling, const AddedToken& token) {
  if (spelling.empty()) return;
  uint32_t node = Trie::kRoot;
  for (const char c : spelling) node = trie_.add(node, static_cast<unsigned char>(c));
  if (trie_.value(node) >= 0) return;
  trie_.setValue(node, static_cast<int32_t>(tokens_.size()));
  tokens_.push_back(token);
  begins_[static_cast<unsigned char>(spelling[0])] = true;
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text) const {
  if (tokens_.empty() || text.empty()) return {{text, -1}};
  std::vector<Part> parts;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    if (!begins_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    int32_t found = -1;
    size_t end = at;
    uint32_t node = Trie::kRoot;
    for (size_t i = at; i < text.size(); ++i) {
      node = trie_.child(node, static_cast<unsigned char>(text[i]));
      if (node == Trie::kNone) break;
      if (trie_.value(node) >= 0) found = trie_.value(node), end = i + 1;
    }
    if (found < 0) {
      ++at;
      continue;
    }
    size_t start = at;
    at = end;
    const AddedToken& token = tokens_[static_cast<size_t>(found)];
    if (token.singleWord && ((start > 0 && isWord(characterAt(text, before(text, start)))) ||
                             (end < text.size() && isWord(characterAt(text, end)))))
      continue;
    if (token.lstrip)
      while (start > done && isSpace(characterAt(text, before(text, start)))) start = before(text, start);
    if (token.rstrip) {
      // The white space that an earlier token has stripped is not scanned again.
      end = std::max(end, done);
      while (end < text.size()) {
        size_t after = end;
        if (!isSpace(next(text, after))) break;
        end = after;
      }
    }
    if (start > done) parts.push_back({text.substr(done, start - done), -1});
    parts.push_back({text.substr(start, end - start), token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
  return parts;
}

}  // namespace clip::tokenizer
