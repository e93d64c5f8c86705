#pragma once
// A call of an op from JavaScript: converts its arguments from JavaScript values and runs it on the pool.
#include "binding/convert.h"
#include "binding/job.h"
#include "binding/loan.h"
#include "ops/call.h"
#include "threads/context.h"

namespace clip::binding {

using ops::rowsOf;

// A kernel call that states its number of products computes before it returns if there are at most this many
// (the scores of one image for 128 labels of 512 numbers). That takes 3 to 7 us on an x64 CPU. Handing the
// work to the pool and back takes 20 us, and 130 us after a pass through a model, when caches are cold and
// threads sleep.
constexpr double kAtOnce = 65536;

// The backend named by the field `backend`, or the best of this machine.
const Backend& namedBackend(const Fields& fields);
// The same for operations on this process's memory: throws ERR_CLIP_BACKEND if the backend does not compute
// there.
const Backend& chosenBackend(const Fields& fields);

class KernelCall final : public ops::Call {
 public:
  explicit KernelCall(const Napi::CallbackInfo& info);

  const Backend& backend() const override { return *backend_; }
  bool has(const char* key) const override { return fields_.has(key); }
  int integer(const char* key, int low = 1, int high = INT32_MAX) const override;
  double number(const char* key) const override { return fields_.number(key); }
  Dtype dtype(const char* key, std::span<const Dtype> allowed) const override {
    return fields_.dtype(key, allowed);
  }
  std::vector<int32_t> indices(const char* key, size_t length, int32_t low, int64_t high) const override {
    return fields_.indices(key, length, low, high);
  }
  std::vector<uint8_t> bytes(const char* key, size_t length) const override;

  // For calls that are not ops.
  Napi::Value value(const char* key) const { return fields_.value(key); }
  void keep(Loan loan) { loans_.push_back(std::move(loan)); }
  // Makes the call cancellable by (owner, job); `cancel` is called then.
  void cancellable(const void* owner, int64_t job, std::function<void()> cancel) {
    owner_ = owner, job_ = job, cancel_ = std::move(cancel);
  }

  Napi::Value run(ops::Job job);
  // The same for operations on this process's memory, which read the arrays there.
  Napi::Value runHere(std::function<void(const Backend&, Context&)> body);

 protected:
  size_t word(const char* key, std::span<const char* const> words) const override;
  size_t lengthOf(const char* key, ops::Element) const override;
  void* lend(const char* key, ops::Element, size_t length, bool written) override;

 private:
  Napi::Env env_;
  Fields fields_;
  const Backend* backend_ = nullptr;
  int threads_ = 1;
  std::vector<Loan> loans_;
  const void* owner_ = nullptr;
  int64_t job_ = -1;
  std::function<void()> cancel_;
};

// Adds the call as a method to `kernels`. kernels.cc
void addKernel(Napi::Object kernels, const char* name, Napi::Value (*call)(KernelCall&));
// For tests. test_kernels.cc
void addPreprocess(Napi::Object kernels);

}  // namespace clip::binding
