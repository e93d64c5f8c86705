#include "binding/error.h"

#include <new>
#include <stdexcept>

namespace clip::binding {
namespace {

Napi::Value make(Napi::Env env, const Error& e) {
  const Napi::Error error = e.code == "ERR_CLIP_INPUT" ? Napi::Error(Napi::TypeError::New(env, e.message))
                                                       : Napi::Error::New(env, e.message);
  Napi::Object o = error.Value();
  o.Set("code", e.code);
  if (!e.file.empty()) o.Set("file", e.file);
  if (!e.field.empty()) o.Set("field", e.field);
  if (!e.expected.empty()) o.Set("expected", e.expected);
  if (!e.actual.empty()) o.Set("actual", e.actual);
  if (e.index >= 0) o.Set("index", e.index);
  return o;
}

// Made of literals and in Node's own memory, because there may be no memory left for the addon.
Napi::Value outOfMemory(napi_env env) noexcept {
  napi_value code, message, error = nullptr;
  if (napi_create_string_utf8(env, "ERR_CLIP_MEMORY", NAPI_AUTO_LENGTH, &code) == napi_ok &&
      napi_create_string_utf8(env, "There is not enough memory for this call", NAPI_AUTO_LENGTH, &message) ==
          napi_ok)
    napi_create_error(env, code, message, &error);
  return Napi::Value(env, error);
}

Napi::Value describe(Napi::Env env, const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Napi::Error& e) {
    return e.Value();
  } catch (const Error& e) {
    return make(env, e);
  } catch (const Cancelled&) {
    return make(env, {"ERR_CLIP_ABORTED", "The job was cancelled"});
  } catch (const std::bad_alloc&) {
    return outOfMemory(env);
  } catch (const std::length_error&) {  // thrown for a vector that could never be that long
    return outOfMemory(env);
  } catch (const std::exception& e) {
    return make(env, {"ERR_CLIP_INTERNAL",
                      std::string("Internal error in clip-native, please report it: ") + e.what()});
  } catch (...) {
    return make(env, {"ERR_CLIP_INTERNAL", "Unknown internal error in clip-native, please report it"});
  }
}

}  // namespace

Napi::Value toJs(Napi::Env env, std::exception_ptr failure) noexcept {
  try {
    return describe(env, failure);
  } catch (...) {
    return outOfMemory(env);
  }
}

}  // namespace clip::binding
