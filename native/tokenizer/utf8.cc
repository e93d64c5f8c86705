#include "tokenizer/utf8.h"

#include <cstdio>

namespace clip::tokenizer {

bool isValid(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = p + text.size();
  while (p < end) {
    if (*p < 0x80) {
      ++p;
      continue;
    }
    const size_t length = lengthOf(*p);
    if (*p < 0xc2 || *p > 0xf4 || static_cast<size_t>(end - p) < length) return false;
    for (size_t i = 1; i < length; ++i)
      if ((p[i] & 0xc0) != 0x80) return false;
    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
        (*p == 0xf4 && p[1] > 0x8f))
      return false;
    p += length;
  }
  return true;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  const std::string_view shown = text.substr(0, 60);
  const bool valid = isValid(shown);
  for (size_t at = 0; at < shown.size();) {
    const auto byte = static_cast<unsigned char>(shown[at]);
    if (byte >= 0x20 && byte < 0x7f) {
      if (byte == '"' || byte == '\\') out += '\\';
      out += shown[at++];
      continue;
    }
    char hex[16];
    if (valid)
      std::snprintf(hex, sizeof hex, "\\u{%x}", static_cast<unsigned>(next(shown, at)));
    else
      std::snprintf(hex, sizeof hex, "\\x%02x",
                    static_cast<unsigned>(static_cast<unsigned char>(shown[at++])));
    out += hex;
  }
  return out + (text.size() > shown.size() ? "...\"" : "\"");
}

}  // namespace clip::tokenizer
