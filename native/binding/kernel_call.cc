#include "binding/kernel_call.h"

#include <cstring>

namespace clip::binding {
namespace {

using ops::Element;

napi_typedarray_type typeOf(Element element) {
  switch (element) {
    case Element::float32:
      return napi_float32_array;
    case Element::float64:
      return napi_float64_array;
    case Element::int32:
      return napi_int32_array;
    case Element::uint16:
      return napi_uint16_array;
    case Element::int8:
      return napi_int8_array;
    default:
      return napi_uint8_array;
  }
}

}  // namespace

const Backend& namedBackend(const Fields& fields) {
  if (!fields.has("backend")) return hostBackend();
  const std::string name = fields.string("backend");
  const Backend* const backend = findBackend(name);
  std::string why = "this build has none of that name";
  if (!backend || !backend->available(&why))
    throw Error{
        "ERR_CLIP_BACKEND", "Backend '" + name + "' is not available: " + why, {}, "backend", {}, name};
  return *backend;
}

const Backend& chosenBackend(const Fields& fields) {
  const Backend& backend = namedBackend(fields);
  if (!backend.plainMemory)
    throw Error{
        "ERR_CLIP_BACKEND",
        std::string("Backend '") + backend.name +
            "' computes on memory of its own, but this needs a backend that computes on the process's",
        {},
        "backend",
        {},
        backend.name};
  return backend;
}

KernelCall::KernelCall(const Napi::CallbackInfo& info) : env_(info.Env()), fields_(info[0], "") {
  threads_ = integer("threads", 1, kMaxThreads);
  backend_ = &namedBackend(fields_);
}

int KernelCall::integer(const char* key, int low, int high) const {
  const char* const dot = std::strchr(key, '.');
  if (!dot) return fields_.integer(key, low, high);
  const std::string object(key, dot);
  return Fields(value(object.c_str()), object).integer(dot + 1, low, high);
}

std::vector<uint8_t> KernelCall::bytes(const char* key, size_t length) const {
  const Elements<uint8_t> e = fields_.typed<uint8_t>(key, length);
  return {e.data, e.data + e.length};
}

size_t KernelCall::word(const char* key, std::span<const char* const> words) const {
  return readWord(value(key), key, words);
}

size_t KernelCall::lengthOf(const char* key, Element element) const {
  void* data = nullptr;
  size_t length = 0;
  checkTyped(value(key), key, typeOf(element), anyLength, &data, &length);
  return length;
}

void* KernelCall::lend(const char* key, Element element, size_t length, bool written) {
  const Napi::Value array = value(key);
  void* data = nullptr;
  checkTyped(array, key, typeOf(element), length, &data, &length);
  loans_.emplace_back(array, key, written ? Loan::Use::write : Loan::Use::read);
  return loans_.back().as<void>();
}

Napi::Value KernelCall::run(ops::Job job) {
  const bool atOnce = job.products <= kAtOnce && backend_->plainMemory;
  Environment::Call call;
  call.keep = std::move(loans_);
  call.owner = owner_, call.job = job_, call.cancel = std::move(cancel_);
  call.result = [name = backend_->name](Napi::Env env) -> Napi::Value {
    return Napi::String::New(env, name);
  };
  auto work = [backend = backend_, threads = atOnce ? 1 : threads_, run = std::move(job.run)] {
    const std::unique_ptr<Context, void (*)(Context*)> context(backend->open(threads), backend->close.f);
    if (!context) throw std::bad_alloc();
    ops::Arrays arrays(*backend, *context);
    run(*backend, *context, arrays);
    arrays.giveBack();
  };
  Environment& here = Environment::of(env_);
  return atOnce ? here.beginHere(std::move(call), work) : here.beginOnPool(std::move(call), std::move(work));
}

Napi::Value KernelCall::runHere(std::function<void(const Backend&, Context&)> body) {
  chosenBackend(fields_);
  return run(
      [body = std::move(body)](const Backend& b, Context& context, ops::Arrays&) { body(b, context); });
}

}  // namespace clip::binding
