#pragma once
// The only bridge from C++ exceptions to JavaScript errors, and the only place in this folder that includes
// napi.h.

// Nothing can be thrown into a worker that is being terminated; with this, the exception is dropped instead
// of ending the process.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

#include <exception>

#include "../error.h"

namespace clip::binding {

// clip::Error keeps its code and fields (ERR_CLIP_INPUT becomes a TypeError), Cancelled becomes
// ERR_CLIP_ABORTED, std::bad_alloc becomes ERR_CLIP_MEMORY, a JavaScript exception stays itself, and anything
// else becomes ERR_CLIP_INTERNAL. Never throws: if there is no memory for the message, it returns
// ERR_CLIP_MEMORY too.
Napi::Value toJs(Napi::Env env, std::exception_ptr failure) noexcept;

// Runs body() -> Napi::Value; an exception in it is thrown as a JavaScript exception.
template <class F>
Napi::Value throwing(const Napi::CallbackInfo& info, F body) {
  try {
    return body();
  } catch (...) {
    const Napi::Value error = toJs(info.Env(), std::current_exception());
    napi_throw(info.Env(), error);
    return Napi::Value();
  }
}

// Runs body() -> Napi::Value (a promise); an exception in it becomes a rejected promise.
template <class F>
Napi::Value rejecting(const Napi::CallbackInfo& info, F body) {
  try {
    return body();
  } catch (...) {
    const Napi::Value error = toJs(info.Env(), std::current_exception());
    napi_deferred deferred;
    napi_value promise;
    if (napi_create_promise(info.Env(), &deferred, &promise) != napi_ok) return Napi::Value();
    napi_reject_deferred(info.Env(), deferred, error);
    return Napi::Value(info.Env(), promise);
  }
}

}  // namespace clip::binding
