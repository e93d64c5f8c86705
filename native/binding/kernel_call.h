#pragma once
// What every kernel of NativeKernels does with its arguments before and after the op itself.
#include <algorithm>

#include "binding/convert.h"
#include "binding/job.h"
#include "cpu/context.h"
#include "held.h"

namespace clip::binding {

inline size_t rowsOf(int n) { return static_cast<size_t>(n); }

// The backend that the field `backend` names, or the best of this machine.
const Backend& chosenBackend(const Fields& fields);  // kernels.cc

// The arguments of one kernel call.
class Call : public Fields {
 public:
  explicit Call(const Napi::CallbackInfo& info) : Fields(info[0], ""), env_(info.Env()) {
    threads_ = integer("threads", 1, kMaxThreads);
    backend_ = &chosenBackend(*this);
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

  // float32 where the key is missing.
  Dtype dtype(const char* key) const {
    if (!has(key)) return Dtype::float32;
    return choice<Dtype>(key,
                         {{"float32", Dtype::float32}, {"bfloat16", Dtype::bfloat16}, {"int8", Dtype::int8}});
  }

  // A dense matrix: Float32Array, Uint16Array of bfloat16, or Uint8Array with `scale` and `zero` of its rows.
  Activations matrix(const char* key, int rows, int cols, Dtype dtype) {
    const size_t n = rowsOf(rows), width = rowsOf(cols);
    Activations a{.stride = width * bytesOf(dtype), .dtype = dtype};
    if (dtype == Dtype::float32) {
      a.data = array<float>(key, {n, width});
    } else if (dtype == Dtype::bfloat16) {
      a.data = array<uint16_t>(key, {n, width});
    } else {
      a.data = array<uint8_t>(key, {n, width});
      a.rowScale = array<float>("scale", {n});
      a.rowZero = array<int32_t>("zero", {n});
    }
    return a;
  }

  void keep(Napi::Value array) { keep_.push_back(array); }

  // The call can be withdrawn by (owner, job); `cancel` is told.
  void cancellable(const void* owner, int64_t job, std::function<void()> cancel) {
    owner_ = owner, job_ = job, cancel_ = std::move(cancel);
  }

  // Runs body(backend, context) on the pool. It must hold no JavaScript value.
  Napi::Value run(std::function<void(const Backend&, Context&)> body) {
    Environment::Call call;
    call.keep = std::move(keep_);
    call.owner = owner_, call.job = job_, call.cancel = std::move(cancel_);
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
  const void* owner_ = nullptr;
  int64_t job_ = -1;
  std::function<void()> cancel_;
};

constexpr std::initializer_list<std::pair<const char*, Score>> kScores = {
    {"probability", Score::probability}, {"logit", Score::logit}, {"cosine", Score::cosine}};

inline Activations dense(const float* data, int cols) {
  return {const_cast<float*>(data), static_cast<size_t>(cols) * sizeof(float), Dtype::float32, nullptr,
          nullptr};
}

// Rows of all sequences must be countable in an int.
inline int checkedRows(const Call& c, const char* key, int a, int b) {
  const size_t rows = product({rowsOf(a), rowsOf(b)});
  if (rows > INT32_MAX) wrong(c.path(key), "make at most 2147483647 rows", std::to_string(rows));
  return static_cast<int>(rows);
}

// A weight (out, in) as this backend's kernels read it.
class PackedWeight : public Held {
 public:
  PackedWeight(const Backend& b, const float* weight, int in, int out, Dtype dtype)
      : Held(b, b.packedSize(dtype, in, out)) {
    // In pieces of some milliseconds, so that it can be stopped.
    const int piece = b.packRows * std::max(1, (1 << 22) / in / b.packRows);
    for (int first = 0; first < out; first += piece) {
      endIfStopped();
      b.pack({.dst = data(),
              .rows = weight + rowsOf(first) * rowsOf(in),
              .rowStride = rowsOf(in),
              .in = in,
              .out = out,
              .firstRow = first,
              .rowCount = std::min(piece, out - first),
              .dtype = dtype});
    }
  }
};

// A dense float32 matrix in another dtype, as an op of this backend reads it.
class Converted : public Held {
 public:
  Converted(const Backend& b, Context& context, const float* x, int rows, int cols, Dtype dtype)
      : Held(b, rowsOf(rows) * bytesPerRow(cols, dtype)),
        rows_{.data = data(),
              .stride = stride(cols, dtype),
              .dtype = dtype,
              .rowScale =
                  reinterpret_cast<float*>(static_cast<char*>(data()) + rowsOf(rows) * stride(cols, dtype)),
              .rowZero = nullptr} {
    rows_.rowZero = reinterpret_cast<int32_t*>(rows_.rowScale + rows);
    b.convert(context, {.x = dense(x, cols), .y = rows_, .rows = rows, .cols = cols});
  }
  const Activations& rows() const { return rows_; }

 private:
  static size_t stride(int cols, Dtype dtype) { return lineStride(rowsOf(cols) * bytesOf(dtype)); }
  static size_t bytesPerRow(int cols, Dtype dtype) {
    return stride(cols, dtype) + sizeof(float) + sizeof(int32_t);
  }
  Activations rows_;
};

using AddKernel = std::function<void(const char* name, Napi::Value (*op)(Call&))>;
void addCosineKernels(const AddKernel& add);  // cosine_kernels.cc
// The ops without a public kernel, in test_kernels.cc: for tests only.
void addTestKernels(const AddKernel& add);

}  // namespace clip::binding
