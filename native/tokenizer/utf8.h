#pragma once
// UTF-8. Every text that enters this folder has been checked once (isValid), so decoding assumes that it is
// well-formed; nevertheless it never reads past the end.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace clip::tokenizer {

// The length of the character that begins with this byte.
inline size_t lengthOf(unsigned char first) {
  return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

// Returns the character at `at` and moves `at` past it.
inline char32_t next(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  size_t length = lengthOf(first);
  if (length > text.size() - at) length = text.size() - at;
  char32_t c = first;
  if (length == 2)
    c = (first & 0x1fu) << 6 | (byte(at + 1) & 0x3fu);
  else if (length == 3)
    c = (first & 0x0fu) << 12 | (byte(at + 1) & 0x3fu) << 6 | (byte(at + 2) & 0x3fu);
  else if (length == 4)
    c = (first & 0x07u) << 18 | (byte(at + 1) & 0x3fu) << 12 | (byte(at + 2) & 0x3fu) << 6 |
        (byte(at + 3) & 0x3fu);
  at += length;
  return c;
}

inline void append(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6), put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 0x3f)), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  }
}

// Whether the text is well-formed: no surrogates, no overlong forms, nothing above U+10FFFF.
bool isValid(std::string_view text);

// A part of foreign text for a message: quoted, at most 60 bytes of it, ASCII only.
std::string quoted(std::string_view text);

}  // namespace clip::tokenizer
