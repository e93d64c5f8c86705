#pragma once
// A strict JSON reader. It reads the small parts of a tokenizer.json as values, and the large ones (a
// vocabulary of hundreds of thousands of pieces, its merges) item by item, without creating a value for each.
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace clip::tokenizer {

struct Json {
  enum class Type { null, boolean, number, string, array, object };
  Type type = Type::null;
  bool boolean = false;
  double number = 0;
  std::string string;
  std::vector<Json> items;        // of an array, or the values of an object
  std::vector<std::string> keys;  // of an object, in the order of items

  bool isString() const { return type == Type::string; }
  bool isArray() const { return type == Type::array; }
  bool isObject() const { return type == Type::object; }
  // Returns nullptr if the member is absent or null.
  const Json* member(std::string_view key) const;
  // The kind of value, for messages.
  std::string kind() const;
};

class JsonReader {
 public:
  // `file` is for messages. The text must outlive the reader.
  JsonReader(std::string_view text, std::string file);

  // Returns the next character that is not blank, or 0 at the end.
  char peek();
  // Reads a string; the result is valid until the next call.
  std::string_view string();
  double number();
  // Reads any value completely, within limits of depth and number.
  Json value();
  // Checks any value and discards it.
  void skip();
  // Reads {"key": ...}: `each(key)` must read the value. Keys are not compared with each other.
  template <class F>
  void object(F each) {
    open('{');
    if (close('}')) return;
    do {
      key_ = string();
      expect(':');
      each(std::string_view(key_));
    } while (more('}'));
  }
  template <class F>
  void array(F each) {
    open('[');
    if (close(']')) return;
    do {
      each();
    } while (more(']'));
  }
  void end();

  size_t position() const { return at_; }
  // Goes back to a position, to read something that was skipped.
  void seek(size_t position) { at_ = position; }
  [[noreturn]] void fail(const std::string& what) const;

 private:
  void open(char bracket);
  bool close(char bracket);
  bool more(char bracket);
  void expect(char c);
  bool word(std::string_view word);
  char32_t unit();

  std::string_view text_;
  std::string file_;
  size_t at_ = 0;
  int depth_ = 0;
  size_t values_ = 0;
  std::string decoded_, key_;
};

}  // namespace clip::tokenizer
