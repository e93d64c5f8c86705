// The entry point of the addon. Everything it owns is in the instance data of the environment that loads it,
// so any number of worker threads can load it independently.
#include "backend.h"
#include "binding/convert.h"
#include "binding/job.h"
#include "binding/surface.h"
#include "threads/threads.h"

namespace clip::binding {
namespace {

constexpr int kInterface = 12;  // must equal INTERFACE in lib/native/addon.ts

Napi::Value listBackends(const Napi::CallbackInfo& info) {
  return throwing(info, [&]() -> Napi::Value {
    const Napi::Env env = info.Env();
    const Napi::Array list = Napi::Array::New(env);
    uint32_t n = 0;
    for (const Backend* const* b = backends(); *b; ++b) {
      const Backend& backend = **b;
      const Napi::Object o = Napi::Object::New(env);
      std::string why;
      const bool available = backend.available(&why);
      o.Set("name", backend.name);
      o.Set("device", backend.device);
      o.Set("available", available);
      if (!available) o.Set("reason", why);
      const Napi::Array dtypes = Napi::Array::New(env);
      const Napi::Object epsilon = Napi::Object::New(env);
      uint32_t d = 0;
      for (const Dtype dtype : kModelDtypes) {
        // Of a backend that is not available, no other function may be called: it may contain instructions
        // that this CPU lacks.
        if (!available || !backend.runs(dtype)) continue;
        dtypes.Set(d++, Napi::String::New(env, nameOf(dtype)));
        epsilon.Set(nameOf(dtype), backend.epsilon(dtype));
      }
      o.Set("dtypes", dtypes);
      o.Set("epsilon", epsilon);
      o.Set("borrowed", backend.borrowed);
      list.Set(n++, o);
    }
    return list;
  });
}

Napi::Value active(const Napi::CallbackInfo& info) {
  return throwing(info, [&]() -> Napi::Value {
    return Napi::String::New(info.Env(), activeName(chooseBackend("auto")));
  });
}

Napi::Value countThreads(const Napi::CallbackInfo& info) {
  return throwing(info, [&]() -> Napi::Value { return Napi::Number::New(info.Env(), defaultThreads()); });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  try {
    // Requiring the addon twice in one environment calls this function twice.
    if (!env.GetInstanceData<Environment>()) env.SetInstanceData(new Environment(env));
    exports.Set("version", CLIP_VERSION);
    exports.Set("interface", kInterface);
    exports.Set("backends", Napi::Function::New(env, listBackends, "backends"));
    exports.Set("active", Napi::Function::New(env, active, "active"));
    exports.Set("defaultThreads", Napi::Function::New(env, countThreads, "defaultThreads"));
    exports.Set("loadModel", Napi::Function::New(env, loadModel, "loadModel"));
    exports.Set("nameWeights", Napi::Function::New(env, nameWeights, "nameWeights"));
    exports.Set("cancelLoad", Napi::Function::New(env, cancelLoad, "cancelLoad"));
    exports.Set("kernels", makeKernels(env));
    exports.Set("openTokenizer", Napi::Function::New(env, openTokenizer, "openTokenizer"));
    exports.Set("openMatrix", Napi::Function::New(env, openMatrix, "openMatrix"));
    exports.Set("canDecodeScaled", Napi::Function::New(env, canDecodeScaled, "canDecodeScaled"));
    exports.Set("decodeScaled", Napi::Function::New(env, decodeScaled, "decodeScaled"));
#if CLIP_TEST_ENTRIES
    exports.Set("measure", makeMeasure(env));
#endif
    exports.Set("learn", makeLearn(env));
    exports.Set("cuda", makeCuda(env));
  } catch (...) {
    napi_throw(env, toJs(env, std::current_exception()));
  }
  return exports;
}

}  // namespace
}  // namespace clip::binding

static Napi::Object initClipNative(Napi::Env env, Napi::Object exports) {
  return clip::binding::init(env, exports);
}
NODE_API_MODULE(clip_native, initClipNative)
