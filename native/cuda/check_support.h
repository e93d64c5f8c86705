#pragma once
// The kernels of the ops, on the cases of the ops (ops/machine.h).
#include "context.h"
#include "ops/machine.h"
#include "rows.h"

namespace clip::cuda::check {

using clip::ops::absolute;
using clip::ops::Bound;
using clip::ops::compare;
using clip::ops::epsilon;
using clip::ops::Made;
using clip::ops::normal;
using clip::ops::rounded;
using clip::ops::summed;
using clip::ops::Values;

// A machine that runs kernels: those of the ops that go row by row, and by their launches those that have
// memory of their own between them.
class Machine : public clip::ops::Machine {
 public:
  virtual void run(const Launch&, std::initializer_list<const void*> arguments) = 0;
#define CLIP_RUN(op, Arguments) \
  void run(const Arguments& a) final { run(launchOf(a), {&a}); }
  CLIP_ROW_OPS(CLIP_RUN)
#undef CLIP_RUN
  // A weight (out, in) as clip_linear_* and clip_conv_* take it.
  virtual void* weight(const Values&, Dtype);
};

// A kernel of an op that goes row by row or compares rows with each other. It is made in one stored type after
// another, where it has any.
struct RowOp {
  const char *op, *kernel;
  std::function<Made(Machine&, const ops::Case&, Dtype)> make;
  std::span<const Dtype> dtypes;
};
const std::vector<RowOp>& rowOps();
// case_cosine.cc
Made cosineScores(Machine&, const ops::Case&, Dtype);
Made softmaxRows(Machine&, const ops::Case&, Dtype);
Made cosineTopK(Machine&, const ops::Case&, Dtype);
Made cosineTopKMerge(Machine&, const ops::Case&, Dtype);
Made infoNce(Machine&, const ops::Case&, Dtype);
Made infoNceLoss(Machine&, const ops::Case&, Dtype);

// Matrix products and convolutions, each kernel in its own type.
struct ProductOp {
  const char *op, *kernel;
  Made (*make)(Machine&, const ops::Case&, const ProductOp&);
  Dtype dtype;
  enum Family : uint8_t { skinny, square, float32 } family;
};
const std::vector<ProductOp>& productOps();  // case_products.cc

// Attention by head dimension and type, and what tells its blocks which rows are theirs.
struct AttentionOp {
  const char* kernel;
  Made (*make)(Machine&, const ops::Case&, const AttentionOp&);
  Dtype dtype;
  int dim;  // of heads, and of those below it that have no kernel of their own; 0: of any
  bool takes(const ops::Case&) const;
};
const std::vector<AttentionOp>& attentionOps();  // case_attention.cc

// A GPU.
class Device : public Machine {
 public:
  explicit Device(Stream& stream);
  ~Device() override;  // waits
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void* take(size_t bytes) override;
  void upload(void* there, const void* here, size_t bytes) override { stream_.upload(there, here, bytes); }
  void download(void* here, const void* there, size_t bytes) override {
    stream_.download(here, there, bytes);
  }
  void run(const Launch& launch, std::initializer_list<const void*> arguments) override;
  void reset();

  Stream& stream() { return stream_; }
  Context& context() { return *stream_.context(); }
  void* weight(const Values&, Dtype) override;  // by the backend's pack

 private:
  Stream& stream_;
  DeviceMemory memory_;
  size_t used_ = 0;
};

}  // namespace clip::cuda::check
