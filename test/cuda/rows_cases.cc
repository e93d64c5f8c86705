// The kernels that process rows one by one or compare rows with each other, on every case of native/ops, in
// every stored type.
#include "emulated.h"
#include "kernel_runs.h"
#include "matrices.h"

namespace {

using namespace clip;

void addAll(const device::Machine& machine, const std::string& group) {
  for (const cuda::check::RowOp& op : cuda::check::rowOps())
    for (const ops::Case& c : ops::casesOf(op.op, ops::kTested | ops::kEmulated))
      for (const Dtype dtype : op.dtypes) {
        const double rows = c.number("rows", 1), dim = c["dim"];
        const bool isLong = rows * c.number("cols", 1) > 3e4 ||
                            rows * c.number("classCount", rows) * dim > 2e5 ||
                            (c["k"] > 1000 && &machine != &device::fibers());
        cases::add(
            group, cases::format("%s, %s, %s", op.kernel, c.name, device::nameOf(dtype)),
            [&machine, make = op.make, c, dtype] {
              device::Emulated emulated(machine);
              const cuda::check::Made made = make(emulated, c, dtype);
              made.run();
              return made.difference();
            },
            isLong);
      }
}

const cases::Registration registration([] {
  addAll(device::fibers(), "rows");
  if (device::ptx()) addAll(*device::ptx(), "rows-ptx");
});

}  // namespace

std::string cosineOfModels(const device::Machine& machine) {
  for (const cuda::check::RowOp& op : cuda::check::rowOps()) {
    if (std::string(op.op).rfind("cosine", 0) != 0 && op.op != std::string("infoNce")) continue;
    for (const ops::Case& c : ops::casesOf(op.op, ops::kFirstLoad)) {
      device::Emulated emulated(machine);
      const cuda::check::Made made = op.make(emulated, c, Dtype::float32);
      made.run();
      if (const std::string wrong = made.difference(); !wrong.empty()) return wrong;
    }
  }
  return "";
}
