#pragma once
// What the original tokenizers know about Unicode characters, each in the version of Unicode that it
// contains. The tables in unicode_tables.inl are generated from them by scripts/make-unicode-tables.py.
#include <string>
#include <string_view>

namespace clip::tokenizer {

// The property White_Space.
bool isSpace(char32_t c);
// \p{L} and \p{N} in Oniguruma.
bool isLetter(char32_t c);
bool isNumber(char32_t c);
// \w in Rust's regex.
bool isWord(char32_t c);
// For BERT: characters that cleaning removes, accents, and characters that are tokens of their own.
bool isBertControl(char32_t c);
bool isBertNonspacing(char32_t c);
bool isBertPunctuation(char32_t c);
bool isBertIdeograph(char32_t c);

// Converts each character separately, without the rule for a final sigma.
std::string lower(std::string_view text);

// The end of the extended grapheme cluster that begins at `at`.
size_t graphemeEnd(std::string_view text, size_t at);

enum class Normal { NFC, NFD, NFKC, NFKD };
std::string normalized(std::string_view text, Normal form);

}  // namespace clip::tokenizer
