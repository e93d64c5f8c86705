#include "binding/loan.h"

#include <cstdio>
#include <cstring>
#ifndef _WIN32
#include <dlfcn.h>
#endif

#include "threads/context.h"

namespace clip::binding {
namespace {

using Store = std::shared_ptr<v8::BackingStore>;

// V8's functions, found by the symbols that the host exports. `self` is the object of the method; for an
// ArrayBuffer it is the handle, which is what a napi_value is.
struct Host {
  Store (*storeOf)(void* self) = nullptr;  // v8::ArrayBuffer::GetBackingStore()
  bool (*resizable)(const void* self) = nullptr;
  void* (*dataOf)(const void* self) = nullptr;
  const char* (*version)() = nullptr;  // of V8; nullptr if no store is ever reallocated

  // Whether buffer.transfer(otherLength) makes the store longer or shorter in place, even if it is shared.
  // This needs ArrayBuffer::Allocator::Reallocate, which V8 removed before 13.6 (Node 24), and transfer,
  // which V8 has had since 11.4 (Node 21; before that behind a flag).
  bool reallocates(napi_env env, napi_value buffer) const {
    if (!version) return false;
    int major = 0, minor = 0;
    if (std::sscanf(version(), "%d.%d", &major, &minor) != 2) return true;
    if (major > 11 || (major == 11 && minor >= 4)) return true;
    bool has = false;
    return napi_has_named_property(env, buffer, "transfer", &has) != napi_ok || has;
  }
};

Host find() {
  Host host;
#ifndef _WIN32
  // v8::ArrayBuffer::New(v8::Isolate*, std::shared_ptr<v8::BackingStore>): the mangled name shows which
  // standard library's shared_ptr it takes.
#if defined(_LIBCPP_VERSION)
  constexpr const char* ours =
      "_ZN2v811ArrayBuffer3NewEPNS_7IsolateENSt3__110shared_ptrINS_12BackingStoreEEE";
#else
  constexpr const char* ours = "_ZN2v811ArrayBuffer3NewEPNS_7IsolateESt10shared_ptrINS_12BackingStoreEE";
#endif
  if (!dlsym(RTLD_DEFAULT, ours)) return {};
  const auto function = [](auto& to, const char* name) {
    to = reinterpret_cast<std::decay_t<decltype(to)>>(dlsym(RTLD_DEFAULT, name));
    return to != nullptr;
  };
  if (!function(host.storeOf, "_ZN2v811ArrayBuffer15GetBackingStoreEv") ||
      !function(host.resizable, "_ZNK2v812BackingStore27IsResizableByUserJavaScriptEv") ||
      !function(host.dataOf, "_ZNK2v812BackingStore4DataEv"))
    return {};
  if (dlsym(RTLD_DEFAULT, "_ZN2v811ArrayBuffer9Allocator10ReallocateEPvmm") &&
      !function(host.version, "_ZN2v82V810GetVersionEv"))
    return {};
#endif
  return host;
}

// The host's functions, if they behave as expected and a shared store is never reallocated.
const Host& host(napi_env env) {
  static const Host found = [env]() -> Host {
    const Host h = find();
    if (!h.storeOf) return {};
    void* data = nullptr;
    napi_value buffer;
    if (napi_create_arraybuffer(env, 64, &data, &buffer) != napi_ok) return {};
    const Store store = h.storeOf(buffer);
    const bool works = store && store.use_count() == 2 && h.dataOf(store.get()) == data &&
                       !h.resizable(store.get()) && !h.reallocates(env, buffer);
    return works ? h : Host{};
  }();
  return found;
}

struct View {
  void* data = nullptr;
  size_t bytes = 0;
  napi_value buffer = nullptr;
};

View viewOf(const Napi::Value& array) {
  View v;
  napi_typedarray_type type;
  size_t length = 0, offset;
  if (napi_get_typedarray_info(array.Env(), array, &type, &length, &v.data, &v.buffer, &offset) != napi_ok)
    throw Napi::Error::New(array.Env());
  v.bytes = length * Napi::TypedArray(array.Env(), array).ElementSize();
  return v;
}

// Large sizes use huge pages: the first access to small pages costs several times as much as the copy.
std::shared_ptr<void> memoryOf(size_t bytes) {
  if (bytes < size_t{4} << 20) return std::shared_ptr<uint8_t[]>(new uint8_t[bytes]);
  const auto large = std::make_shared<Bytes>(bytes);
  return {large, large->data};
}

}  // namespace

Loan::Loan(const Napi::Value& array, std::string field, Use use) : field_(std::move(field)), use_(use) {
  const View view = viewOf(array);
  data_ = view.data;
  bytes_ = view.bytes;
  const bool write = use == Use::write;
  bool shared = false;  // SharedArrayBuffer: can't be transferred, and can only grow
  if (!Napi::Value(array.Env(), view.buffer).IsArrayBuffer()) {
    shared = true;
  } else if (const Host& h = host(array.Env()); h.storeOf) {
    store_ = h.storeOf(view.buffer);
    if (h.resizable(store_.get())) store_.reset();
  }
  if (write || shared || use == Use::own) array_ = Napi::Reference<Napi::Value>::New(array, 1);
  if (store_ || shared || use == Use::own) return;
  copy_ = memoryOf(bytes_);
  if (bytes_) std::memcpy(copy_.get(), data_, bytes_);
  data_ = copy_.get();
}

Loan::Loan(Loan&&) noexcept = default;
Loan& Loan::operator=(Loan&&) noexcept = default;
Loan::~Loan() = default;

void Loan::giveBack() const {
  if (use_ != Use::write) return;
  const View view = viewOf(array_.Value());
  if (view.bytes != bytes_ || (!copy_ && view.data != data_))
    wrong(field_, "keep its memory until the call settles", "an array that was transferred or resized");
  if (copy_ && bytes_) std::memcpy(view.data, copy_.get(), bytes_);
}

}  // namespace clip::binding
