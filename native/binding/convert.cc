#include "binding/convert.h"

#include <cmath>
#include <cstdio>

namespace clip::binding {
namespace {

const char* nameOf(napi_typedarray_type type) {
  switch (type) {
    case napi_int8_array:
      return "Int8Array";
    case napi_uint8_array:
      return "Uint8Array";
    case napi_uint8_clamped_array:
      return "Uint8ClampedArray";
    case napi_int16_array:
      return "Int16Array";
    case napi_uint16_array:
      return "Uint16Array";
    case napi_int32_array:
      return "Int32Array";
    case napi_uint32_array:
      return "Uint32Array";
    case napi_float32_array:
      return "Float32Array";
    case napi_float64_array:
      return "Float64Array";
    default:
      return "BigInt64Array";
  }
}

std::string text(double v) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.17g", v);
  return buffer;
}

}  // namespace

std::string describe(Napi::Value value) {
  switch (value.Type()) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return value.As<Napi::Boolean>() ? "true" : "false";
    case napi_number:
      return text(value.As<Napi::Number>().DoubleValue());
    case napi_string: {
      const std::string s = value.As<Napi::String>();
      return "\"" + (s.size() > 60 ? s.substr(0, 57) + "..." : s) + "\"";
    }
    case napi_symbol:
      return "a symbol";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    default:
      break;
  }
  if (value.IsTypedArray()) {
    const Napi::TypedArray array = value.As<Napi::TypedArray>();
    return std::string("a ") + nameOf(array.TypedArrayType()) + " of " +
           std::to_string(array.ElementLength());
  }
  if (value.IsArray()) return "an array of " + std::to_string(value.As<Napi::Array>().Length());
  return "an object";
}

double readNumber(Napi::Value value, const std::string& field) {
  if (!value.IsNumber()) wrong(field, "be a finite number", describe(value));
  const double v = value.As<Napi::Number>().DoubleValue();
  if (!std::isfinite(v)) wrong(field, "be a finite number", text(v));
  return v;
}

int64_t readInteger(Napi::Value value, const std::string& field, int64_t low, int64_t high,
                    const char* code) {
  const std::string expected = "be an integer from " + std::to_string(low) + " to " + std::to_string(high);
  if (!value.IsNumber()) wrong(field, expected, describe(value), code);
  const double v = value.As<Napi::Number>().DoubleValue();
  // The condition is written so that NaN fails it.
  if (!(v >= static_cast<double>(low) && v <= static_cast<double>(high) && v == std::floor(v)))
    wrong(field, expected, text(v), code);
  return static_cast<int64_t>(v);
}

std::string readString(Napi::Value value, const std::string& field) {
  if (!value.IsString()) wrong(field, "be a string", describe(value));
  return value.As<Napi::String>();
}

Napi::Object readObject(Napi::Value value, const std::string& field) {
  if (!value.IsObject()) wrong(field, "be an object", describe(value));
  return value.As<Napi::Object>();
}

Napi::Array readArray(Napi::Value value, const std::string& field) {
  if (!value.IsArray()) wrong(field, "be an array", describe(value));
  return value.As<Napi::Array>();
}

bool readBoolean(Napi::Value value, const std::string& field) {
  if (!value.IsBoolean()) wrong(field, "be true or false", describe(value));
  return value.As<Napi::Boolean>();
}

size_t readWord(Napi::Value value, const std::string& field, std::span<const char* const> words) {
  const std::string got = value.IsString() ? std::string(value.As<Napi::String>()) : "";
  std::string list;
  for (size_t i = 0; i < words.size(); ++i) {
    if (value.IsString() && got == words[i]) return i;
    list += (list.empty() ? "'" : ", '") + std::string(words[i]) + "'";
  }
  wrong(field, "be one of " + list, describe(value));
}

void checkTyped(Napi::Value value, const std::string& field, napi_typedarray_type type, size_t length,
                void** data, size_t* actual) {
  bool ok = value.IsTypedArray();
  napi_typedarray_type got{};
  size_t n = 0;
  napi_value buffer = nullptr;
  if (ok) {
    size_t offset;
    ok = napi_get_typedarray_info(value.Env(), value, &got, &n, data, &buffer, &offset) == napi_ok &&
         (got == type || (type == napi_uint8_array && got == napi_uint8_clamped_array));
  }
  if (!ok) wrong(field, std::string("be a ") + nameOf(type), describe(value));
  bool detached = false;
  if (n == 0 && length != 0 && napi_is_detached_arraybuffer(value.Env(), buffer, &detached) == napi_ok &&
      detached)
    wrong(field,
          length == anyLength ? "still have its memory" : "have " + std::to_string(length) + " elements",
          std::string("a ") + nameOf(got) + " that was transferred");
  if (length != anyLength && n != length)
    wrong(field, "have " + std::to_string(length) + " elements", std::to_string(n));
  *actual = n;
}

Dtype Fields::dtype(const char* key, std::span<const Dtype> allowed) const {
  std::string list;
  const Napi::Value given = value(key);
  const std::string got = given.IsString() ? std::string(given.As<Napi::String>()) : "";
  for (const Dtype dtype : allowed) {
    if (got == clip::nameOf(dtype)) return dtype;
    list += (list.empty() ? "'" : ", '") + std::string(clip::nameOf(dtype)) + "'";
  }
  wrong(path(key), "be one of " + list, describe(given));
}

std::vector<int32_t> Fields::indices(const char* key, size_t length, int32_t low, int64_t high) const {
  const Elements<int32_t> e = typed<int32_t>(key, length);
  std::vector<int32_t> v(e.data, e.data + e.length);
  for (size_t i = 0; i < v.size(); ++i)
    if (v[i] < low || v[i] > high)
      wrong(path(key) + "[" + std::to_string(i) + "]",
            "be an integer from " + std::to_string(low) + " to " + std::to_string(high),
            std::to_string(v[i]));
  return v;
}

}  // namespace clip::binding
