// Products, convolution and attention.
#include <memory>

#include "attention.h"
#include "linear.h"
#include "timing_support.h"

namespace clip::cuda::timing {
namespace {

std::string text(int n) { return std::to_string(n); }

struct Sequences {
  int count, length, heads;
};

Attention attentionCall(Bench& b, const Sequences& s, int dim, Dtype dtype) {
  const int rows = s.count * s.length, width = s.heads * dim;
  std::vector<int32_t> first;
  for (int r = 0; r < rows; r++) first.push_back(r / s.length * s.length);
  return {.q = b.matrix(rows, width, dtype),
          .k = b.matrix(rows, width, dtype),
          .v = b.matrix(rows, width, dtype),
          .out = b.matrix(rows, width, dtype),
          .rows = rows,
          .queries = rows,
          .queryRow = nullptr,
          .heads = s.heads,
          .dim = dim,
          .mask = Mask::full,
          .first = b.copy(first),
          .parent = nullptr};
}

Sequences sequencesOf(const Bench& b, int dim) {
  return b.small ? Sequences{2, 11, 1} : dim == 64 ? Sequences{64, 50, 12} : Sequences{16, 257, 16};
}

// 64 images of ViT-B/32; wider heads: 16 of ViT-H's 257 tokens.
Work attention(Bench& b, int dim, Dtype dtype) {
  const Sequences s = sequencesOf(b, dim);
  const Attention call = attentionCall(b, s, dim, dtype);
  int bound = 0;
  const AttentionGroups groups = b.stream().groups(call, &bound);
  const double width = double{1} * s.heads * dim;
  return {.shape =
              text(s.count) + " x " + text(s.length) + " tokens, " + text(s.heads) + " heads of " + text(dim),
          .flops = 4. * s.count * s.length * s.length * width,
          .bytes = 4. * call.rows * width * double(bytesOf(dtype)),
          .tensor = dtype != Dtype::float32,
          .step = b.launching(attentionLaunch(call, bound), call, groups)};
}

Work groups(Bench& b) {
  const Sequences s = sequencesOf(b, 64);
  const Attention call = attentionCall(b, s, 8, Dtype::float32);
  int bound = 0;
  const AttentionGroups all = b.stream().groups(call, &bound);
  return {.shape = text(s.count) + " x " + text(s.length) + " tokens",
          .flops = 0,
          .bytes = 4. * call.rows + 24. * s.count,
          .tensor = false,
          .step = b.launching(attentionGroupsLaunch(), call, all)};
}

}  // namespace

void addProducts(std::vector<Case>& cases) {
  for (const check::ProductOp& op : check::productOps())
    for (const ops::Case& c : ops::casesOf(op.op, ops::kTimed)) {
      // Few rows are for the skinny products, many for the square ones.
      const bool skinny = c.number("rows", 1e6) <= linear::kSkinnyRows;
      if (op.family != check::ProductOp::float32 && skinny != (op.family == check::ProductOp::skinny))
        continue;
      cases.push_back({op.kernel, [&op, c](Bench& b) {
                         const auto machine = std::make_shared<Timed>(b);
                         const check::Made made = op.make(
                             *machine, b.small ? ops::casesOf(op.op, ops::kFirstLoad).front() : c, op);
                         return Work{made.shape, made.flops, made.bytes, op.dtype != Dtype::float32,
                                     [machine, run = made.run](CUstream) { run(); }};
                       }});
    }
  const auto add = [&](const char* kernel, auto prepare, auto... arguments) {
    cases.push_back({kernel, [=](Bench& b) { return prepare(b, arguments...); }});
  };
  add("clip_attention_bfloat16_64", attention, 64, Dtype::bfloat16);
  add("clip_attention_bfloat16_80", attention, 80, Dtype::bfloat16);
  add("clip_attention_bfloat16_88", attention, 88, Dtype::bfloat16);
  add("clip_attention_bfloat16_104", attention, 104, Dtype::bfloat16);
  add("clip_attention_bfloat16_128", attention, 128, Dtype::bfloat16);
  add("clip_attention_float16_64", attention, 64, Dtype::float16);
  add("clip_attention_float16_80", attention, 80, Dtype::float16);
  add("clip_attention_float16_88", attention, 88, Dtype::float16);
  add("clip_attention_float16_104", attention, 104, Dtype::float16);
  add("clip_attention_float16_128", attention, 128, Dtype::float16);
  add("clip_attention_float32", attention, 64, Dtype::float32);
  add("clip_attention_groups", groups);
}

}  // namespace clip::cuda::timing
