#pragma once
// What every kernel of NativeKernels does with its arguments before and after the op itself.
#include "binding/convert.h"
#include "binding/job.h"
#include "cpu/context.h"

namespace clip::binding {

// The arguments of one kernel call.
class Call : public Fields {
 public:
  explicit Call(const Napi::CallbackInfo& info) : Fields(info[0], ""), env_(info.Env()) {
    threads_ = integer("threads", 1, kMaxThreads);
    if (has("backend")) {
      const std::string name = string("backend");
      backend_ = findBackend(name);
      std::string why;
      if (!backend_ || !backend_->available(&why))
        throw Error{"ERR_CLIP_BACKEND",
                    "Backend '" + name +
                        "' is not available: " + (backend_ ? why : "this build has none of that name"),
                    {},
                    "backend",
                    {},
                    name};
    } else {
      backend_ = &chooseBackend("auto");
    }
  }

  template <class T>
  T* array(const char* key, std::initializer_list<size_t> shape) {
    const Elements<T> e = typed<T>(key, product(shape));
    keep_.push_back(e.array);
    return e.data;
  }
  template <class T>
  Elements<T> arrayOfRows(const char* key, int cols) {
    const Elements<T> e = typed<T>(key);
    if (e.length == 0 || e.length % cols)
      wrong(path(key), "have a multiple of " + std::to_string(cols) + " elements, at least one row",
            std::to_string(e.length));
    keep_.push_back(e.array);
    return e;
  }

  void keep(Napi::Value array) { keep_.push_back(array); }

  // Runs body(backend, context) on the pool. It must hold no JavaScript value.
  Napi::Value run(std::function<void(const Backend&, Context&)> body) {
    Environment::Call call;
    call.keep = std::move(keep_);
    call.result = [name = backend_->name](Napi::Env env) -> Napi::Value {
      return Napi::String::New(env, name);
    };
    return Environment::of(env_).beginOnPool(std::move(call), [backend = backend_, threads = threads_,
                                                               body = std::move(body)] {
      const std::unique_ptr<Context, void (*)(Context*)> context(backend->open(threads), backend->close.f);
      if (!context) throw std::bad_alloc();
      body(*backend, *context);
    });
  }

 private:
  Napi::Env env_;
  const Backend* backend_ = nullptr;
  int threads_ = 1;
  std::vector<Napi::Value> keep_;
};

inline Activations dense(const float* data, int cols) {
  return {const_cast<float*>(data), static_cast<size_t>(cols) * sizeof(float), Dtype::float32, nullptr,
          nullptr};
}

inline size_t rowsOf(int n) { return static_cast<size_t>(n); }

// Rows of all sequences must be countable in an int.
inline int checkedRows(const Call& c, const char* key, int a, int b) {
  const size_t rows = product({rowsOf(a), rowsOf(b)});
  if (rows > INT32_MAX) wrong(c.path(key), "make at most 2147483647 rows", std::to_string(rows));
  return static_cast<int>(rows);
}

// A weight (out, in) as this backend's kernels read it, for as long as the result lives.
inline auto packed(const Backend& b, const float* weight, int in, int out) {
  const size_t bytes = b.packedSize(Dtype::float32, in, out);
  const auto release = [&b, bytes](void* p) { b.free(p, bytes); };
  std::unique_ptr<void, decltype(release)> w(b.alloc(bytes), release);
  if (!w) throw std::bad_alloc();
  b.pack({.dst = w.get(),
          .rows = weight,
          .rowStride = rowsOf(in),
          .in = in,
          .out = out,
          .firstRow = 0,
          .rowCount = out,
          .dtype = Dtype::float32});
  return w;
}

// The ops without a public kernel, in test_kernels.cc: for tests only.
using AddKernel = std::function<void(const char* name, Napi::Value (*op)(Call&))>;
void addTestKernels(const AddKernel& add);

}  // namespace clip::binding
