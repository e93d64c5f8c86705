// Kernels that process rows one by one, and those that compare rows with each other.
#include <memory>

#include "timing_support.h"

namespace clip::cuda::timing {

void addRows(std::vector<Case>& cases) {
  for (const check::RowOp& op : check::rowOps())
    for (const ops::Case& c : ops::casesOf(op.op, ops::kTimed))
      cases.push_back({op.kernel, [&op, c](Bench& b) {
                         const auto machine = std::make_shared<Timed>(b);
                         const check::Made made =
                             op.make(*machine, b.small ? ops::casesOf(op.op, ops::kFirstLoad).front() : c,
                                     op.dtypes.size() > 1 ? Dtype::bfloat16 : Dtype::float32);
                         return Work{made.shape, made.flops, made.bytes, false,
                                     [machine, run = made.run](CUstream) { run(); }};
                       }});
}

}  // namespace clip::cuda::timing
