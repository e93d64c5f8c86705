// Compares clip_conv_* with native/reference/linear.cc.
#include "conv.h"

#include "emulated.h"
#include "kernel_runs.h"
#include "matrices.h"

namespace {

using namespace clip;

struct Shape {
  int images, height, width, in, out, kernel, stride, pad;
};

std::string run(const device::Machine& machine, const cuda::check::ProductOp& op, const ops::Case& c) {
  device::Emulated emulated(machine);
  const cuda::check::Made made = op.make(emulated, c, op);
  made.run();
  return made.difference();
}

// Checks a shape of this file, with y of the type of x.
std::string check(const device::Machine& machine, const Shape& s, Dtype dtype) {
  const ops::Case c{"",
                    0,
                    {{"images", double(s.images)},
                     {"height", double(s.height)},
                     {"width", double(s.width)},
                     {"inChannels", double(s.in)},
                     {"outChannels", double(s.out)},
                     {"kernel", double(s.kernel)},
                     {"stride", double(s.stride)},
                     {"pad", double(s.pad)},
                     {"narrow", 1}}};
  for (const cuda::check::ProductOp& op : cuda::check::productOps())
    if (op.op == std::string("conv") && op.dtype == dtype) return run(machine, op, c);
  return "no such kernel";
}

void addAll(const device::Machine& machine, const std::string& group) {
  for (const cuda::check::ProductOp& op : cuda::check::productOps())
    if (op.op == std::string("conv"))
      for (const ops::Case& c : ops::casesOf("conv", ops::kTested | ops::kEmulated))
        cases::add(group, cases::format("%s, %s", op.kernel, c.name),
                   [&machine, &op, c] { return run(machine, op, c); });
}

const cases::Registration registration([] {
  addAll(device::fibers(), "conv");
  if (device::ptx()) addAll(*device::ptx(), "conv-ptx");
});

}  // namespace

std::string convOfModels(const device::Machine& machine) {
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16}) {
    // the first convolution of the stem
    std::string wrong = check(machine, {1, 24, 24, 3, 32, 3, 2, 1}, dtype);
    if (wrong.empty()) wrong = check(machine, {1, 14, 14, 64, 64, 3, 1, 1}, dtype);
    if (!wrong.empty()) return wrong;
  }
  return "";
}
