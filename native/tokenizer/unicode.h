#pragma once
// What the original tokenizers know of Unicode's characters, each with the version of Unicode that it carries:
// unicode_tables.inl, which scripts/make-unicode-tables.py makes of them.
#include <string>
#include <string_view>

namespace clip::tokenizer {

// White_Space.
bool isSpace(char32_t c);
// \p{L} and \p{N} of Oniguruma.
bool isLetter(char32_t c);
bool isNumber(char32_t c);
// \w of Rust's regex.
bool isWord(char32_t c);
// BERT's: what cleaning removes, what accents are, what is a token of its own.
bool isBertControl(char32_t c);
bool isBertNonspacing(char32_t c);
bool isBertPunctuation(char32_t c);
bool isBertIdeograph(char32_t c);

// Each character by itself: no rule for a final sigma.
std::string lower(std::string_view text);

// End of the extended grapheme cluster that begins at `at`.
size_t graphemeEnd(std::string_view text, size_t at);

enum class Normal { NFC, NFD, NFKC, NFKD };
std::string normalized(std::string_view text, Normal form);

}  // namespace clip::tokenizer
