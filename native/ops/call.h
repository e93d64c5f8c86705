#pragma once
// A call of an op from JavaScript, as read by the op's own file in this folder: its arguments by name, its
// arrays in place, and a job that runs the op on them. native/binding makes the Call; this folder does not
// depend on JavaScript.
//
// Float arrays are used in place and kept alive until the promise settles; index arrays are copied, because
// an index changed after the check would cause an out-of-bounds read.
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "backend.h"
#include "backend_buffer.h"
#include "error.h"

namespace clip::ops {

inline size_t rowsOf(int n) { return static_cast<size_t>(n); }
// A product that saturates at the largest size_t instead of wrapping around.
size_t product(std::initializer_list<size_t> factors);

// An array of the caller; `host` is its address in this process. An op gets at(array) instead, see Arrays.
template <class T>
struct Lent {
  T* host = nullptr;
  size_t bytes = 0;
  bool written = false;
  size_t length() const { return bytes / sizeof(T); }
};
// A dense matrix of the caller, with a scale and a zero point for each row of int8.
struct LentMatrix {
  Lent<char> data;
  size_t stride = 0;
  Dtype dtype = Dtype::float32;
  Lent<float> rowScale;
  Lent<int32_t> rowZero;
};

// The arrays of a call in the memory that an op of the backend uses. A backend with plain memory uses them in
// place. For other backends each array is copied to the backend when it is first requested, and giveBack
// copies the op's results back. The same array requested twice is copied once, so an op may work in place.
class Arrays {
 public:
  Arrays(const Backend& backend, Context& context) : backend_(backend), context_(context) {}
  // Waits until no op uses the memory any more.
  ~Arrays();
  Arrays(const Arrays&) = delete;
  Arrays& operator=(const Arrays&) = delete;

  const Backend& backend() const { return backend_; }
  Context& context() const { return context_; }
  // Memory of the backend, valid until the call ends.
  void* scratch(size_t bytes);

  template <class T>
  T* operator()(const Lent<T>& array) {
    return static_cast<T*>(
        place(const_cast<std::remove_const_t<T>*>(array.host), array.bytes, array.written));
  }
  // Returns nullptr for an empty list.
  const int32_t* operator()(const std::vector<int32_t>& list);
  MatrixView operator()(const LentMatrix&);
  // A dense float32 matrix with rows of `cols` numbers.
  template <class T>
  MatrixView dense(const Lent<T>& array, int cols) {
    return {.data = const_cast<float*>((*this)(array)),
            .stride = static_cast<size_t>(cols) * sizeof(float),
            .dtype = Dtype::float32};
  }
  // The same, converted to another dtype.
  MatrixView castTo(const Lent<const float>& x, int rows, int cols, Dtype);
  // A weight (out, in), packed for the backend's kernels.
  const void* packed(const Lent<const float>& weight, int in, int out, Dtype);

  // Makes the results of the ops visible in the caller's arrays.
  void giveBack();

 private:
  struct Copy {
    std::unique_ptr<BackendBuffer> memory;
    bool written = false;
  };
  void* place(void* host, size_t bytes, bool written);

  const Backend& backend_;
  Context& context_;
  std::map<std::pair<void*, size_t>, Copy> copies_;
  std::vector<std::unique_ptr<BackendBuffer>> scratch_;
};

// Runs an op on the pool or, if it multiplies few numbers, before the call returns (KernelCall::run). It
// holds no JavaScript value.
struct Job {
  std::function<void(const Backend&, Context&, Arrays& at)> run;
  double products;
  template <class F>
  Job(F f, double multiplied = std::numeric_limits<double>::infinity())
      : run(std::move(f)), products(multiplied) {}
};

// The type of a typed array's elements.
enum class Element : uint8_t { float32, float64, int32, uint16, int8, uint8 };
template <class T>
constexpr Element elementOf() {
  using N = std::remove_const_t<T>;
  if constexpr (std::is_same_v<N, float>)
    return Element::float32;
  else if constexpr (std::is_same_v<N, double>)
    return Element::float64;
  else if constexpr (std::is_same_v<N, int32_t>)
    return Element::int32;
  else if constexpr (std::is_same_v<N, uint16_t>)
    return Element::uint16;
  else if constexpr (std::is_same_v<N, int8_t>)
    return Element::int8;
  else
    return Element::uint8;
}

// The arguments of a call by name. Nothing that lib passes is trusted: every invalid value causes an Error
// with ERR_CLIP_INPUT that names the argument.
class Call {
 public:
  virtual ~Call() = default;
  virtual const Backend& backend() const = 0;

  virtual bool has(const char* key) const = 0;
  // "crop.x" is the field x of the object crop.
  virtual int integer(const char* key, int low = 1, int high = INT32_MAX) const = 0;
  virtual double number(const char* key) const = 0;
  template <class E>
  E choice(const char* key, std::initializer_list<std::pair<const char*, E>> words) const {
    std::vector<const char*> list;
    for (const auto& pair : words) list.push_back(pair.first);
    return (words.begin() + word(key, list))->second;
  }
  virtual Dtype dtype(const char* key, std::span<const Dtype> allowed) const = 0;
  // One of the row dtypes, which the backend must support; float32 if the key is missing.
  Dtype rowDtype(const char* key) const;
  // A copy.
  virtual std::vector<int32_t> indices(const char* key, size_t length, int32_t low, int64_t high) const = 0;
  virtual std::vector<uint8_t> bytes(const char* key, size_t length) const = 0;

  template <class T>
  size_t length(const char* key) const {
    return lengthOf(key, elementOf<T>());
  }
  template <class T>
  Lent<const T> array(const char* key, std::initializer_list<size_t> shape) {
    return lent<const T>(key, product(shape), false);
  }
  // An array that the op writes.
  template <class T>
  Lent<T> output(const char* key, std::initializer_list<size_t> shape) {
    return lent<T>(key, product(shape), true);
  }
  template <class T>
  Lent<const T> arrayOfRows(const char* key, int cols) {
    const size_t n = length<T>(key);
    if (n == 0 || n % cols)
      wrong(key, "have a multiple of " + std::to_string(cols) + " elements, at least one row",
            std::to_string(n));
    return lent<const T>(key, n, false);
  }
  // A dense matrix: a Float32Array, a Uint16Array of bfloat16, or a Uint8Array with the `scale` and `zero` of
  // its rows.
  LentMatrix matrix(const char* key, int rows, int cols, Dtype dtype) {
    return lentMatrix(key, rows, cols, dtype, false);
  }
  LentMatrix outputMatrix(const char* key, int rows, int cols, Dtype dtype) {
    return lentMatrix(key, rows, cols, dtype, true);
  }

 protected:
  virtual size_t word(const char* key, std::span<const char* const> words) const = 0;
  virtual size_t lengthOf(const char* key, Element) const = 0;
  virtual void* lend(const char* key, Element, size_t length, bool written) = 0;

 private:
  template <class T>
  Lent<T> lent(const char* key, size_t length, bool written) {
    return {static_cast<T*>(lend(key, elementOf<T>(), length, written)), length * sizeof(T), written};
  }
  LentMatrix lentMatrix(const char* key, int rows, int cols, Dtype, bool written);
};

// Throws if the dtype of that argument is int8.
void requireFloats(const char* key, Dtype);
// The number of rows of all sequences, which must fit into an int.
int checkedRows(const char* key, int a, int b);

constexpr std::initializer_list<std::pair<const char*, Score>> kScores = {{"probability", Score::probability},
                                                                          {"sigmoid", Score::sigmoid},
                                                                          {"logit", Score::logit},
                                                                          {"cosine", Score::cosine}};
// The bias added to the logits; 0 if not given.
inline float logitBias(const Call& c) {
  return c.has("logitBias") ? static_cast<float>(c.number("logitBias")) : 0.0f;
}

// Reads the arguments of an op, in the op's own file. Invalid arguments throw before anything runs.
#define CLIP_DECLARE(op, Arguments) \
  namespace op {                    \
  Job prepare(Call&);               \
  }
CLIP_OPS(CLIP_DECLARE)
#undef CLIP_DECLARE

}  // namespace clip::ops
