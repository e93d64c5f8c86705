// Products, convolution and attention.
#include <memory>

#include "linear.h"
#include "timing_support.h"

namespace clip::cuda::timing {

void addProducts(std::vector<Case>& cases) {
  for (const check::ProductOp& op : check::productOps())
    for (const ops::Case& c : ops::casesOf(op.op, ops::kTimed)) {
      // Shapes with few rows are for the skinny products, those with many rows for the square ones.
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
  for (const check::AttentionOp& op : check::attentionOps()) {
    const auto taken = [&](ops::Use use) {
      std::vector<ops::Case> found = ops::casesOf("attention", use);
      std::erase_if(found, [&](const ops::Case& c) { return !op.takes(c); });
      return found;
    };
    for (const ops::Case& c : taken(ops::kTimed))
      cases.push_back({op.kernel, [&op, c, small = taken(ops::kFirstLoad).front()](Bench& b) {
                         const auto machine = std::make_shared<Timed>(b);
                         const check::Made made = op.make(*machine, b.small ? small : c, op);
                         return Work{made.shape, made.flops, made.bytes, op.dtype != Dtype::float32,
                                     [machine, run = made.run](CUstream) { run(); }};
                       }});
  }
}

}  // namespace clip::cuda::timing
