#pragma once
// What every kernel of NativeKernels does with its arguments before and after the op itself.
#include <algorithm>
#include <limits>
#include <map>

#include "backend_buffer.h"
#include "binding/convert.h"
#include "binding/job.h"
#include "binding/loan.h"
#include "pool/context.h"

namespace clip::binding {

// Up to so many products (one image's scores for 128 labels of 512 numbers) a kernel that is given their number
// computes before its call returns. That takes 3 to 7 us on an x64 CPU; the way to the pool and back takes 20 us,
// and after a pass through a model, when caches are cold and threads asleep, 130.
constexpr double kAtOnce = 65536;

inline size_t rowsOf(int n) { return static_cast<size_t>(n); }

// The backend that the field `backend` names, or the best of this machine.
const Backend& namedBackend(const Fields& fields);  // kernels.cc
// The same for what computes on this process's memory: throws ERR_CLIP_BACKEND where that backend does not.
const Backend& chosenBackend(const Fields& fields);  // kernels.cc

// An array of the caller: `host` is where it lies in this process. What an op is given is at(array), see
// Arrays.
template <class T>
struct Lent {
  T* host = nullptr;
  size_t bytes = 0;
  bool written = false;
  size_t length() const { return bytes / sizeof(T); }
};
// A dense matrix of the caller, with a scale and a zero for each row of int8.
struct LentMatrix {
  Lent<char> data;
  size_t stride = 0;
  Dtype dtype = Dtype::float32;
  Lent<float> rowScale;
  Lent<int32_t> rowZero;
};

// Where an op of a backend finds the arrays of a call. A backend with plain memory uses them where they are;
// for another one each is copied there when it is first asked for, and what an op has written is copied back
// by giveBack. The same array twice is one copy: an op may work in place.
class Arrays {
 public:
  Arrays(const Backend& backend, Context& context) : backend_(backend), context_(context) {}
  // Waits until no op uses the memory any more.
  ~Arrays() {
    if (backend_.plainMemory) return;
    try {
      backend_.download(&context_, nullptr, nullptr, 0);
    } catch (...) {  // a lost GPU: the call has failed already
    }
  }
  Arrays(const Arrays&) = delete;
  Arrays& operator=(const Arrays&) = delete;

  const Backend& backend() const { return backend_; }
  Context& context() const { return context_; }
  // Memory of the backend until the call ends.
  void* scratch(size_t bytes) {
    scratch_.push_back(std::make_unique<BackendBuffer>(backend_, bytes));
    return scratch_.back()->data();
  }

  template <class T>
  T* operator()(const Lent<T>& array) {
    return static_cast<T*>(
        place(const_cast<std::remove_const_t<T>*>(array.host), array.bytes, array.written));
  }
  // nullptr for an empty list
  const int32_t* operator()(const std::vector<int32_t>& list) {
    return static_cast<const int32_t*>(place(const_cast<int32_t*>(list.empty() ? nullptr : list.data()),
                                             list.size() * sizeof(int32_t), false));
  }
  MatrixView operator()(const LentMatrix& m) {
    return {.data = (*this)(m.data),
            .stride = m.stride,
            .dtype = m.dtype,
            .rowScale = (*this)(m.rowScale),
            .rowZero = (*this)(m.rowZero)};
  }
  // A dense float32 matrix with rows of `cols` numbers.
  template <class T>
  MatrixView dense(const Lent<T>& array, int cols) {
    return {.data = const_cast<float*>((*this)(array)),
            .stride = static_cast<size_t>(cols) * sizeof(float),
            .dtype = Dtype::float32};
  }
  // What ops have written so far is where the caller will look.
  void giveBack() {
    for (auto& [array, copy] : copies_)
      if (std::exchange(copy.written, false))
        backend_.download(&context_, array.first, copy.memory->data(), array.second);
  }

 private:
  struct Copy {
    std::unique_ptr<BackendBuffer> memory;
    bool written = false;
  };
  void* place(void* host, size_t bytes, bool written) {
    if (backend_.plainMemory || !host) return host;
    Copy& copy = copies_[{host, bytes}];
    if (!copy.memory) {
      copy.memory = std::make_unique<BackendBuffer>(backend_, bytes);
      backend_.upload(&context_, copy.memory->data(), host, bytes);
    }
    copy.written |= written;
    return copy.memory->data();
  }

  const Backend& backend_;
  Context& context_;
  std::map<std::pair<void*, size_t>, Copy> copies_;
  std::vector<std::unique_ptr<BackendBuffer>> scratch_;
};

// The arguments of one kernel call.
class KernelCall : public Fields {
 public:
  explicit KernelCall(const Napi::CallbackInfo& info) : Fields(info[0], ""), env_(info.Env()) {
    threads_ = integer("threads", 1, kMaxThreads);
    backend_ = &namedBackend(*this);
  }
  const Backend& backend() const { return *backend_; }

  template <class T>
  Lent<const T> array(const char* key, std::initializer_list<size_t> shape) {
    return lend<const T>(key, typed<T>(key, product(shape)), Loan::Use::read);
  }
  // What the op writes.
  template <class T>
  Lent<T> output(const char* key, std::initializer_list<size_t> shape) {
    return lend<T>(key, typed<T>(key, product(shape)), Loan::Use::write);
  }
  template <class T>
  Lent<const T> arrayOfRows(const char* key, int cols) {
    const Elements<T> e = typed<T>(key);
    if (e.length == 0 || e.length % cols)
      wrong(path(key), "have a multiple of " + std::to_string(cols) + " elements, at least one row",
            std::to_string(e.length));
    return lend<const T>(key, e, Loan::Use::read);
  }

  // float32 where the key is missing.
  Dtype dtype(const char* key) const {
    if (!has(key)) return Dtype::float32;
    const Dtype dtype = Fields::dtype(key, kRowDtypes);
    if (!backend_->runs(dtype))
      throw Error{"ERR_CLIP_DTYPE",
                  std::string("Backend '") + backend_->name + "' does not run " + string(key),
                  {},
                  path(key),
                  {},
                  string(key)};
    return dtype;
  }

  // A dense matrix: Float32Array, Uint16Array of bfloat16, or Uint8Array with `scale` and `zero` of its rows.
  LentMatrix matrix(const char* key, int rows, int cols, Dtype dtype, Loan::Use use = Loan::Use::read) {
    const size_t n = rowsOf(rows), width = rowsOf(cols);
    LentMatrix a;
    a.stride = width * bytesOf(dtype), a.dtype = dtype;
    const auto data = [&]<class T>(Elements<T> e) {
      const Lent<T> lent = lend<T>(key, e, use);
      a.data = {reinterpret_cast<char*>(lent.host), lent.bytes, lent.written};
    };
    if (dtype == Dtype::float32) {
      data(typed<float>(key, product({n, width})));
    } else if (dtype == Dtype::bfloat16) {
      data(typed<uint16_t>(key, product({n, width})));
    } else {
      data(typed<uint8_t>(key, product({n, width})));
      a.rowScale = lend<float>("scale", typed<float>("scale", n), use);
      a.rowZero = lend<int32_t>("zero", typed<int32_t>("zero", n), use);
    }
    return a;
  }
  LentMatrix outputMatrix(const char* key, int rows, int cols, Dtype dtype) {
    return matrix(key, rows, cols, dtype, Loan::Use::write);
  }

  void keep(Loan loan) { loans_.push_back(std::move(loan)); }

  // The call can be cancelled by (owner, job); `cancel` is told.
  void cancellable(const void* owner, int64_t job, std::function<void()> cancel) {
    owner_ = owner, job_ = job, cancel_ = std::move(cancel);
  }

  using Body = std::function<void(const Backend&, Context&, Arrays& at)>;
  // Runs body(backend, context, arrays) on the pool. It must hold no JavaScript value.
  Napi::Value run(Body body) { return run(std::numeric_limits<double>::infinity(), std::move(body)); }
  // The same for a body that multiplies so many numbers: few are multiplied before this returns (kAtOnce).
  Napi::Value run(double products, Body body) {
    const bool atOnce = products <= kAtOnce && backend_->plainMemory;
    Environment::Call call;
    call.keep = std::move(loans_);
    call.owner = owner_, call.job = job_, call.cancel = std::move(cancel_);
    call.result = [name = backend_->name](Napi::Env env) -> Napi::Value {
      return Napi::String::New(env, name);
    };
    auto work = [backend = backend_, threads = atOnce ? 1 : threads_, body = std::move(body)] {
      const std::unique_ptr<Context, void (*)(Context*)> context(backend->open(threads), backend->close.f);
      if (!context) throw std::bad_alloc();
      Arrays arrays(*backend, *context);
      body(*backend, *context, arrays);
      arrays.giveBack();
    };
    Environment& here = Environment::of(env_);
    return atOnce ? here.beginHere(std::move(call), work)
                  : here.beginOnPool(std::move(call), std::move(work));
  }
  // The same for what computes on this process's memory, and reads the arrays there.
  Napi::Value runHere(std::function<void(const Backend&, Context&)> body) {
    chosenBackend(*this);
    return run([body = std::move(body)](const Backend& b, Context& context, Arrays&) { body(b, context); });
  }

 private:
  template <class T>
  Lent<T> lend(const char* key, const Elements<std::remove_const_t<T>>& e, Loan::Use use) {
    loans_.emplace_back(e.array, path(key), use);
    return {loans_.back().as<T>(), e.length * sizeof(T), use == Loan::Use::write};
  }

  Napi::Env env_;
  const Backend* backend_ = nullptr;
  int threads_ = 1;
  std::vector<Loan> loans_;
  const void* owner_ = nullptr;
  int64_t job_ = -1;
  std::function<void()> cancel_;
};

constexpr std::initializer_list<std::pair<const char*, Score>> kScores = {{"probability", Score::probability},
                                                                          {"sigmoid", Score::sigmoid},
                                                                          {"logit", Score::logit},
                                                                          {"cosine", Score::cosine}};

// What is added to the logits: 0 if not given.
inline float logitBias(const KernelCall& c) {
  return c.has("logitBias") ? static_cast<float>(c.number("logitBias")) : 0.0f;
}

// Rows of all sequences must be countable in an int.
inline int checkedRows(const KernelCall& c, const char* key, int a, int b) {
  const size_t rows = product({rowsOf(a), rowsOf(b)});
  if (rows > INT32_MAX) wrong(c.path(key), "make at most 2147483647 rows", std::to_string(rows));
  return static_cast<int>(rows);
}

// A weight (out, in) as this backend's kernels read it.
inline const void* packed(Arrays& at, const Lent<const float>& weight, int in, int out, Dtype dtype) {
  const Backend& b = at.backend();
  void* const to = at.scratch(b.packedSize(dtype, in, out));
  // In pieces of some milliseconds, so that it can be stopped.
  const int piece = b.packRows * std::max(1, (1 << 22) / in / b.packRows);
  for (int first = 0; first < out; first += piece) {
    endIfStopped();
    b.pack({.dst = to,
            .rows = weight.host + rowsOf(first) * rowsOf(in),
            .rowStride = rowsOf(in),
            .in = in,
            .out = out,
            .firstRow = first,
            .rowCount = std::min(piece, out - first),
            .dtype = dtype});
  }
  return to;
}

// A dense float32 matrix in another dtype, as an op of this backend reads it.
inline MatrixView castTo(Arrays& at, const Lent<const float>& x, int rows, int cols, Dtype dtype) {
  const MatrixView from = at.dense(x, cols);
  if (dtype == Dtype::float32) return from;
  MatrixView to{.data = nullptr, .stride = lineStride(rowsOf(cols) * bytesOf(dtype)), .dtype = dtype};
  auto* const memory =
      static_cast<char*>(at.scratch(rowsOf(rows) * (to.stride + sizeof(float) + sizeof(int32_t))));
  to.data = memory;
  to.rowScale = reinterpret_cast<float*>(memory + rowsOf(rows) * to.stride);
  to.rowZero = reinterpret_cast<int32_t*>(to.rowScale + rows);
  at.backend().cast(at.context(), {.x = from, .y = to, .rows = rows, .cols = cols});
  return to;
}

using AddKernel = std::function<void(const char* name, Napi::Value (*op)(KernelCall&))>;
void addCosineKernels(const AddKernel& add);  // cosine_kernels.cc
// The ops without a public kernel, in test_kernels.cc: for tests, so not in every build (CMakeLists.txt).
void addTestKernels(const AddKernel& add);

}  // namespace clip::binding
