// clip_conv_* against native/reference/linear.cc.
#include "conv.h"

#include <algorithm>

#include "kernel_runs.h"
#include "matrices.h"

namespace {

using namespace clip;
using device::Matrix;
using device::Values;

struct Shape {
  int images, height, width, in, out, kernel, stride, pad;
};

std::string check(const device::Machine& machine, const Shape& s, Dtype dtype, Dtype to, bool nan = false) {
  const int inputs = s.kernel * s.kernel * s.in;
  Values x = device::rounded(device::normal(1, s.images * s.height * s.width, s.in), dtype);
  Values w = device::rounded(device::normal(2, s.out, inputs, 1 / std::sqrt(float(inputs))), dtype);
  const Values bias = device::normal(3, 1, s.out);
  if (nan) x.row(s.height * s.width / 2)[0] = std::nanf("");
  const device::Memory packed = device::packedWeight(w, dtype), biases = device::copyOf(bias.data);
  Conv call{.dtype = dtype,
            .bias = biases.as<float>(),
            .images = s.images,
            .height = s.height,
            .width = s.width,
            .in = s.in,
            .out = s.out,
            .kernel = s.kernel,
            .stride = s.stride,
            .pad = s.pad};
  const Matrix xs(x, dtype), y(s.images * call.outHeight() * call.outWidth(), s.out, to, 2);
  call.x = xs.activations();
  call.w = packed.as<void>();
  call.y = y.activations();
  device::run(machine, cuda::convLaunch(call), call);
  const auto reference = [&](Values& x1, Values& w1) {
    Values out(s.images * call.outHeight() * call.outWidth(), s.out);
    Conv c = call;
    c.x = x1.activations();
    c.w = w1.data.data();
    c.dtype = Dtype::float32;
    c.y = out.activations();
    referenceBackend.conv(device::referenceContext(), c);
    return out;
  };
  const Values want = reference(x, w);
  for (float& v : x.data) v = std::fabs(v);
  for (float& v : w.data) v = std::fabs(v);
  const Values sizes = reference(x, w);
  return device::compareMatrix(y, want, [&](int r, int c) {
    return (sizes.row(r)[c] + 2 * std::fabs(bias.data[c])) * (inputs + 16) * 0x1p-23 +
           device::epsilon(to) * std::fabs(want.row(r)[c]) + 0x1p-24;
  });
}

void addAll(const device::Machine& machine, const std::string& group) {
  const Shape shapes[] = {{1, 1, 1, 8, 1, 1, 1, 0},     {2, 9, 7, 3, 16, 3, 2, 1}, {1, 8, 8, 16, 65, 3, 1, 1},
                          {1, 13, 12, 24, 33, 3, 1, 1}, {1, 5, 6, 5, 3, 3, 1, 1},  {1, 12, 12, 8, 4, 5, 3, 2},
                          {3, 4, 4, 40, 10, 1, 2, 0},   {1, 3, 3, 8, 2, 3, 1, 0}};
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16}) {
    for (const Shape& s : shapes)
      for (const Dtype to : {Dtype::float32, dtype})
        cases::add(group,
                   cases::format("%s to %s, %d x %d x %d x %d to %d, kernel %d, stride %d, pad %d",
                                 device::nameOf(dtype), device::nameOf(to), s.images, s.height, s.width, s.in,
                                 s.out, s.kernel, s.stride, s.pad),
                   [&machine, s, dtype, to] { return check(machine, s, dtype, to); });
    cases::add(group, std::string(device::nameOf(dtype)) + ", NaN stays where it is seen", [&machine, dtype] {
      return check(machine, {2, 6, 6, 8, 9, 3, 1, 1}, dtype, Dtype::float32, true);
    });
  }
}

const cases::Registration registration([] {
  addAll(device::fibers(), "conv");
  if (device::ptx()) addAll(*device::ptx(), "conv-ptx");
});

}  // namespace

std::string convOfModels(const device::Machine& machine) {
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float16}) {
    std::string wrong = check(machine, {1, 24, 24, 3, 32, 3, 2, 1}, dtype, dtype);  // the stem's first
    if (wrong.empty()) wrong = check(machine, {1, 14, 14, 64, 64, 3, 1, 1}, dtype, dtype);
    if (!wrong.empty()) return wrong;
  }
  return "";
}
