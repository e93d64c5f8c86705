#pragma once
// Checked reading of JavaScript values. Nothing that lib passes is trusted: every invalid value becomes an
// Error with ERR_CLIP_INPUT that names the field.
#include "binding/error.h"

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "dtypes.h"

namespace clip::binding {

// Describes a value in a few words, for the end of a sentence.
std::string describe(Napi::Value value);

// The elements of a typed array. The array must be kept alive while they are used.
template <class T>
struct Elements {
  T* data = nullptr;
  size_t length = 0;
  Napi::Value array;
};

double readNumber(Napi::Value value, const std::string& field);
int64_t readInteger(Napi::Value value, const std::string& field, int64_t low, int64_t high,
                    const char* code = "ERR_CLIP_INPUT");
std::string readString(Napi::Value value, const std::string& field);
Napi::Object readObject(Napi::Value value, const std::string& field);
Napi::Array readArray(Napi::Value value, const std::string& field);
bool readBoolean(Napi::Value value, const std::string& field);
// Which of the words it is.
size_t readWord(Napi::Value value, const std::string& field, std::span<const char* const> words);

constexpr size_t anyLength = SIZE_MAX;

template <class T>
constexpr napi_typedarray_type typeOf() {
  if constexpr (std::is_same_v<T, float>)
    return napi_float32_array;
  else if constexpr (std::is_same_v<T, double>)
    return napi_float64_array;
  else if constexpr (std::is_same_v<T, int32_t>)
    return napi_int32_array;
  else if constexpr (std::is_same_v<T, uint16_t>)
    return napi_uint16_array;
  else if constexpr (std::is_same_v<T, int8_t>)
    return napi_int8_array;
  else
    return napi_uint8_array;
}

void checkTyped(Napi::Value value, const std::string& field, napi_typedarray_type type, size_t length,
                void** data, size_t* actual);

template <class T>
Elements<T> readTyped(Napi::Value value, const std::string& field, size_t length = anyLength) {
  Elements<T> e;
  void* data = nullptr;
  checkTyped(value, field, typeOf<T>(), length, &data, &e.length);
  e.data = static_cast<T*>(data);
  e.array = value;
  return e;
}

// The fields of an object, read by name.
class Fields {
 public:
  Fields(Napi::Value value, std::string path)
      : object_(readObject(value, path.empty() ? "arguments[0]" : path)), path_(std::move(path)) {}

  std::string path(const char* key) const { return path_.empty() ? key : path_ + "." + key; }
  Napi::Value value(const char* key) const { return object_.Get(key); }
  bool has(const char* key) const {
    const Napi::Value v = value(key);
    return !v.IsUndefined() && !v.IsNull();
  }
  int integer(const char* key, int low = 1, int high = INT32_MAX, const char* code = "ERR_CLIP_INPUT") const {
    return static_cast<int>(readInteger(value(key), path(key), low, high, code));
  }
  double number(const char* key) const { return readNumber(value(key), path(key)); }
  bool boolean(const char* key) const { return readBoolean(value(key), path(key)); }
  std::string string(const char* key) const { return readString(value(key), path(key)); }
  template <class T>
  Elements<T> typed(const char* key, size_t length = anyLength) const {
    return readTyped<T>(value(key), path(key), length);
  }
  // Copied, because JavaScript could change the array between check and use.
  std::vector<int32_t> indices(const char* key, size_t length, int32_t low, int64_t high) const;
  template <class E>
  E choice(const char* key, std::initializer_list<std::pair<const char*, E>> words) const {
    return readChoice<E>(value(key), path(key), words);
  }

  // Reads a dtype by its name (dtypes.h).
  Dtype dtype(const char* key, std::span<const Dtype> allowed) const;

  template <class E>
  static E readChoice(Napi::Value value, const std::string& field,
                      std::initializer_list<std::pair<const char*, E>> words) {
    std::vector<const char*> list;
    for (const auto& pair : words) list.push_back(pair.first);
    return (words.begin() + readWord(value, field, list))->second;
  }

 private:
  Napi::Object object_;
  std::string path_;
};

}  // namespace clip::binding
