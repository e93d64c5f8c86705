#include "tokenizer/json.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <unordered_set>

#include "error.h"
#include "tokenizer/utf8.h"

namespace clip::tokenizer {
namespace {

constexpr int kDepth = 32;
// Limit of the number of values; a charsmap is one value, an added token is seven.
constexpr size_t kValues = 400'000;

}  // namespace

const Json* Json::member(std::string_view key) const {
  for (size_t i = 0; i < keys.size(); ++i)
    if (keys[i] == key) return items[i].type == Type::null ? nullptr : &items[i];
  return nullptr;
}

std::string Json::kind() const {
  switch (type) {
    case Type::null:
      return "null";
    case Type::boolean:
      return boolean ? "true" : "false";
    case Type::number: {
      char text[32];
      std::snprintf(text, sizeof text, "%.17g", number);
      return text;
    }
    case Type::string:
      return quoted(string);
    case Type::array:
      return "an array of " + std::to_string(items.size());
    case Type::object:
      return "an object";
  }
  return {};
}

JsonReader::JsonReader(std::string_view text, std::string file) : text_(text), file_(std::move(file)) {
  // A byte order mark is skipped, like with Python's utf-8-sig.
  if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
}

void JsonReader::fail(const std::string& what) const {
  throw Error{.code = "ERR_CLIP_CHECKPOINT",
              .message = file_ + " is not JSON: " + what + " at byte " + std::to_string(at_),
              .file = file_};
}

char JsonReader::peek() {
  for (; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return c;
  }
  return 0;
}

void JsonReader::open(char bracket) {
  if (peek() != bracket) fail(std::string("expected ") + bracket);
  if (++depth_ > kDepth) fail("nested more than " + std::to_string(kDepth) + " deep");
  ++at_;
}

bool JsonReader::close(char bracket) {
  if (peek() != bracket) return false;
  ++at_;
  --depth_;
  return true;
}

bool JsonReader::more(char bracket) {
  if (close(bracket)) return false;
  if (peek() != ',') fail(std::string("expected , or ") + bracket);
  ++at_;
  return true;
}

void JsonReader::expect(char c) {
  if (peek() != c) fail(std::string("expected ") + c);
  ++at_;
}

bool JsonReader::word(std::string_view word) {
  if (text_.substr(at_, word.size()) != word) return false;
  at_ += word.size();
  return true;
}

char32_t JsonReader::unit() {
  char32_t c = 0;
  if (text_.size() - at_ < 4) fail("unexpected end in a string");
  for (int i = 0; i < 4; ++i) {
    const char d = text_[at_ + static_cast<size_t>(i)];
    const int digit = d >= '0' && d <= '9'   ? d - '0'
                      : d >= 'a' && d <= 'f' ? d - 'a' + 10
                      : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                             : -1;
    if (digit < 0) fail("bad escape in a string");
    c = c << 4 | static_cast<char32_t>(digit);
  }
  at_ += 4;
  return c;
}

std::string_view JsonReader::string() {
  if (peek() != '"') fail("expected a string");
  const size_t start = ++at_;
  bool ascii = true;
  // Most strings contain no escape and are returned in place.
  for (; at_ < text_.size(); ++at_) {
    const auto c = static_cast<unsigned char>(text_[at_]);
    if (c == '"' || c == '\\' || c < 0x20) break;
    ascii &= c < 0x80;
  }
  if (at_ < text_.size() && text_[at_] == '"') {
    const std::string_view plain = text_.substr(start, at_ - start);
    if (!ascii && !isValid(plain)) fail("a string that is not UTF-8 ends");
    ++at_;
    return plain;
  }
  decoded_.assign(text_.substr(start, at_ - start));
  for (;;) {
    if (at_ >= text_.size()) fail("unexpected end in a string");
    const char c = text_[at_++];
    if (c == '"') break;
    if (static_cast<unsigned char>(c) < 0x20) fail("control character in a string");
    if (c != '\\') {
      decoded_.push_back(c);
      continue;
    }
    if (at_ >= text_.size()) fail("unexpected end in a string");
    switch (text_[at_++]) {
      case '"':
        decoded_ += '"';
        break;
      case '\\':
        decoded_ += '\\';
        break;
      case '/':
        decoded_ += '/';
        break;
      case 'b':
        decoded_ += '\b';
        break;
      case 'f':
        decoded_ += '\f';
        break;
      case 'n':
        decoded_ += '\n';
        break;
      case 'r':
        decoded_ += '\r';
        break;
      case 't':
        decoded_ += '\t';
        break;
      case 'u': {
        char32_t u = unit();
        if (u >= 0xd800 && u < 0xe000) {
          if (u >= 0xdc00 || !word("\\u")) fail("half of a surrogate pair in a string");
          const char32_t low = unit();
          if (low < 0xdc00 || low >= 0xe000) fail("half of a surrogate pair in a string");
          u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
        }
        append(decoded_, u);
        break;
      }
      default:
        fail("bad escape in a string");
    }
  }
  if (!isValid(decoded_)) fail("a string that is not UTF-8 ends");
  return decoded_;
}

double JsonReader::number() {
  peek();
  const size_t start = at_;
  const auto is = [&](char c) { return at_ < text_.size() && text_[at_] == c; };
  const auto digits = [&] {
    const size_t first = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    if (at_ == first) fail("unexpected text");
    return at_ - first;
  };
  if (is('-')) ++at_;
  const bool zero = is('0');
  if (digits() > 1 && zero) fail("unexpected text");
  if (is('.')) ++at_, digits();
  if (is('e') || is('E')) {
    ++at_;
    if (is('+') || is('-')) ++at_;
    digits();
  }
  const std::string_view spelling = text_.substr(start, at_ - start);
  if (spelling.size() > 400) fail("a number of more than 400 characters ends");
  double number = 0;
#if defined(__cpp_lib_to_chars) && __cpp_lib_to_chars >= 201611L
  const auto read = std::from_chars(spelling.data(), spelling.data() + spelling.size(), number);
  if (read.ec != std::errc()) number = INFINITY;
#else
  number = std::strtod(std::string(spelling).c_str(), nullptr);
#endif
  if (!std::isfinite(number)) fail("a number out of range ends");
  return number;
}

Json JsonReader::value() {
  if (++values_ > kValues) fail("more than " + std::to_string(kValues) + " values");
  Json json;
  switch (peek()) {
    case '"':
      json.type = Json::Type::string;
      json.string = string();
      break;
    case '{': {
      json.type = Json::Type::object;
      std::unordered_set<std::string> keys;
      object([&](std::string_view key) {
        std::string name(key);
        if (!keys.insert(name).second) fail("duplicate key " + quoted(name));
        Json one = value();
        json.keys.push_back(std::move(name));
        json.items.push_back(std::move(one));
      });
      break;
    }
    case '[':
      json.type = Json::Type::array;
      array([&] { json.items.push_back(value()); });
      break;
    case 't':
    case 'f':
      json.type = Json::Type::boolean;
      json.boolean = text_[at_] == 't';
      if (!word(json.boolean ? "true" : "false")) fail("unexpected text");
      break;
    case 'n':
      if (!word("null")) fail("unexpected text");
      break;
    default:
      json.type = Json::Type::number;
      json.number = number();
  }
  return json;
}

void JsonReader::skip() {
  switch (peek()) {
    case '"':
      string();
      break;
    case '{':
      object([&](std::string_view) { skip(); });
      break;
    case '[':
      array([&] { skip(); });
      break;
    case 't':
    case 'f':
    case 'n':
      if (!word("true") && !word("false") && !word("null")) fail("unexpected text");
      break;
    default:
      number();
  }
}

void JsonReader::end() {
  if (peek() != 0 || at_ < text_.size()) fail("unexpected text after the value");
}

}  // namespace clip::tokenizer
