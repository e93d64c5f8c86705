#pragma once
// What every kernel of NativeKernels does with its arguments before and after the op itself.
#include <algorithm>

#include "backend_buffer.h"
#include "binding/convert.h"
#include "binding/job.h"
#include "binding/loan.h"
#include "pool/context.h"

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
  const T* array(const char* key, std::initializer_list<size_t> shape) {
    return lend<T>(key, typed<T>(key, product(shape)), Loan::Use::read);
  }
  // What the op writes.
  template <class T>
  T* output(const char* key, std::initializer_list<size_t> shape) {
    return lend<T>(key, typed<T>(key, product(shape)), Loan::Use::write);
  }
  template <class T>
  Elements<T> arrayOfRows(const char* key, int cols) {
    Elements<T> e = typed<T>(key);
    if (e.length == 0 || e.length % cols)
      wrong(path(key), "have a multiple of " + std::to_string(cols) + " elements, at least one row",
            std::to_string(e.length));
    e.data = lend<T>(key, e, Loan::Use::read);
    return e;
  }

  // float32 where the key is missing.
  Dtype dtype(const char* key) const {
    if (!has(key)) return Dtype::float32;
    return choice<Dtype>(key,
                         {{"float32", Dtype::float32}, {"bfloat16", Dtype::bfloat16}, {"int8", Dtype::int8}});
  }

  // A dense matrix: Float32Array, Uint16Array of bfloat16, or Uint8Array with `scale` and `zero` of its rows.
  Activations matrix(const char* key, int rows, int cols, Dtype dtype, Loan::Use use = Loan::Use::read) {
    const size_t n = rowsOf(rows), width = rowsOf(cols);
    Activations a{.stride = width * bytesOf(dtype), .dtype = dtype};
    if (dtype == Dtype::float32) {
      a.data = lend<float>(key, typed<float>(key, product({n, width})), use);
    } else if (dtype == Dtype::bfloat16) {
      a.data = lend<uint16_t>(key, typed<uint16_t>(key, product({n, width})), use);
    } else {
      a.data = lend<uint8_t>(key, typed<uint8_t>(key, product({n, width})), use);
      a.rowScale = lend<float>("scale", typed<float>("scale", n), use);
      a.rowZero = lend<int32_t>("zero", typed<int32_t>("zero", n), use);
    }
    return a;
  }
  Activations outputMatrix(const char* key, int rows, int cols, Dtype dtype) {
    return matrix(key, rows, cols, dtype, Loan::Use::write);
  }

  void keep(Loan loan) { loans_.push_back(std::move(loan)); }

  // The call can be withdrawn by (owner, job); `cancel` is told.
  void cancellable(const void* owner, int64_t job, std::function<void()> cancel) {
    owner_ = owner, job_ = job, cancel_ = std::move(cancel);
  }

  // Runs body(backend, context) on the pool. It must hold no JavaScript value.
  Napi::Value run(std::function<void(const Backend&, Context&)> body) {
    Environment::Call call;
    call.keep = std::move(loans_);
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
  template <class T>
  T* lend(const char* key, const Elements<T>& e, Loan::Use use) {
    loans_.emplace_back(e.array, path(key), use);
    return loans_.back().as<T>();
  }

  Napi::Env env_;
  const Backend* backend_ = nullptr;
  int threads_ = 1;
  std::vector<Loan> loans_;
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
class PackedWeight : public BackendBuffer {
 public:
  PackedWeight(const Backend& b, const float* weight, int in, int out, Dtype dtype)
      : BackendBuffer(b, b.packedSize(dtype, in, out)) {
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
class Converted : public BackendBuffer {
 public:
  Converted(const Backend& b, Context& context, const float* x, int rows, int cols, Dtype dtype)
      : BackendBuffer(b, rowsOf(rows) * bytesPerRow(cols, dtype)),
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
