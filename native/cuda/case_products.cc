// Matrix products and convolutions, on the cases of ops/.
#include "check_support.h"
#include "conv.h"
#include "linear.h"

namespace clip::cuda::check {
namespace {

using ops::Case;

std::string text(int n) { return std::to_string(n); }

// Kernels determine the family and the type, which the case leaves open.
Made linear(Machine& m, const Case& c, const ProductOp& op) {
  const int rows = c["rows"], in = c["inFeatures"], out = c["outFeatures"];
  const Dtype dtype = op.dtype, to = c["narrow"] ? dtype : Dtype::float32;
  Values x = normal(1, rows, in, static_cast<float>(c.number("scale", 1)), dtype);
  Values w = normal(2, out, in, 1 / std::sqrt(float(in)), dtype);
  const Values bias = normal(3, 1, out);
  Values residual = normal(4, rows, out);
  if (c["nan"]) {
    x.row(rows / 2)[in - 1] = std::nanf("");
    x.row(0)[0] = INFINITY;
    residual.row(rows - 1)[out - 1] = std::nanf("");
  }
  const bool hasBias = c.number("bias", 1) != 0, hasResidual = c["residual"] != 0,
             inPlace = c["residual"] == 2;
  const MatrixView y = inPlace ? m.matrix(residual, Dtype::float32) : m.output(rows, out, to);
  const Linear call{.x = m.matrix(x, dtype),
                    .w = m.weight(w, dtype),
                    .bias = hasBias ? m.copy(bias.data) : nullptr,
                    .residual = !hasResidual ? MatrixView{}
                                : inPlace    ? y
                                             : m.matrix(residual, Dtype::float32),
                    .y = y,
                    .rows = rows,
                    .in = in,
                    .out = out,
                    .activation = static_cast<Activation>(c["activation"]),
                    .weights = dtype};
  LinearScratch scratch{nullptr, nullptr};
  const size_t tiles = linearArrivedBytes(call) / sizeof(unsigned);
  if (op.family == ProductOp::skinny)
    scratch = {static_cast<float*>(m.take(linearPartialBytes(call))), m.copy(std::vector<unsigned>(tiles))};
  const auto run = [=, &m, family = op.family] {
    if (family == ProductOp::skinny)
      m.run(linearSkinnyLaunch(call), {&call, &scratch});
    else
      m.run(family == ProductOp::square ? linearSquareLaunch(call) : linearFloat32Launch(call), {&call});
  };
  const auto difference = [=, &m]() mutable {
    if (scratch.arrived) {
      std::vector<unsigned> arrived(tiles);
      m.download(arrived.data(), scratch.arrived, tiles * sizeof(unsigned));
      for (const unsigned count : arrived)
        if (count) return std::string("a launch leaves its counters at zero");
    }
    const auto reference = [&](Values& xs, Values& ws, bool all) {
      Values ys(rows, out);
      referenceBackend.linear(Machine::reference(),
                              {.x = xs.view(),
                               .w = ws.data.data(),
                               .bias = all && hasBias ? bias.data.data() : nullptr,
                               .residual = all && hasResidual ? residual.view() : MatrixView{},
                               .y = ys.view(),
                               .rows = rows,
                               .in = in,
                               .out = out,
                               .activation = all ? call.activation : Activation::none,
                               .weights = Dtype::float32});
      return ys;
    };
    const Values want = reference(x, w, true);
    Values ax = absolute(x), aw = absolute(w);
    const Values sizes = reference(ax, aw, false);  // sum of |x w|
    // Sums of `in` terms in float32. The slopes of the activations are below 1.2, and their arithmetic is
    // accurate to 2^-20 of their arguments; y is rounded once.
    const double ofActivation = call.activation == Activation::none ? 0 : 0x1p-20;
    return m.compareMatrix(y, want, [&](int r, int o) {
      return (sizes.row(r)[o] + 8) * ((in + 16) * 0x1p-23 + ofActivation) +
             epsilon(to) * std::fabs(want.row(r)[o]) + 0x1p-24;
    });
  };
  const double wide = double(bytesOf(dtype));
  return {run, difference, text(rows) + " x " + text(in) + " x " + text(out), 2. * rows * in * out,
          wide * in * out + 4. * out + rows * (wide * in + double(bytesOf(to)) * out)};
}

Made conv(Machine& m, const Case& c, const ProductOp& op) {
  const Dtype dtype = op.dtype, to = c["narrow"] ? dtype : Dtype::float32;
  Conv call{
      .x = {},
      .w = nullptr,
      .dtype = dtype,
      .bias = nullptr,
      .y = {},
      .images = c["images"],
      .height = c["height"],
      .width = c["width"],
      .in = c["inChannels"],
      .out = c["outChannels"],
      .kernel = c["kernel"],
      .stride = c["stride"],
      .pad = c["pad"],
      .activation = static_cast<Activation>(c.number("activation", static_cast<int>(Activation::relu)))};
  const int pixels = call.images * call.height * call.width, inputs = call.kernel * call.kernel * call.in,
            rows = call.images * call.outHeight() * call.outWidth();
  Values x = normal(1, pixels, call.in, 1, dtype),
         w = normal(2, call.out, inputs, 1 / std::sqrt(float(inputs)), dtype);
  const Values bias = normal(3, 1, call.out);
  if (c["nan"]) x.row(call.height * call.width / 2)[0] = std::nanf("");
  call.x = m.matrix(x, dtype);
  call.w = m.weight(w, dtype);
  call.bias = m.copy(bias.data);
  call.y = m.output(rows, call.out, to);
  const auto difference = [=, &m]() mutable {
    const auto reference = [&](Values& xs, Values& ws, Activation activation) {
      Values ys(rows, call.out);
      Conv here = call;
      here.activation = activation;
      here.x = xs.view();
      here.w = ws.data.data();
      here.dtype = Dtype::float32;
      here.bias = bias.data.data();
      here.y = ys.view();
      referenceBackend.conv(Machine::reference(), here);
      return ys;
    };
    const Values want = reference(x, w, call.activation);
    Values ax = absolute(x), aw = absolute(w);
    const Values sizes = reference(ax, aw, Activation::none);
    // See linear.
    const double ofActivation = call.activation == Activation::gelu ? 0x1p-20 : 0;
    return m.compareMatrix(call.y, want, [&](int r, int o) {
      return (sizes.row(r)[o] + 2 * std::fabs(bias.data[o]) + 1) * ((inputs + 16) * 0x1p-23 + ofActivation) +
             epsilon(to) * std::fabs(want.row(r)[o]) + 0x1p-24;
    });
  };
  const double wide = double(bytesOf(dtype));
  return {[=, &m] { m.run(convLaunch(call), {&call}); }, difference,
          text(call.images) + " x " + text(call.height) + " x " + text(call.width) + " x " + text(call.in) +
              " to " + text(call.out) + ", " + text(call.kernel) + " x " + text(call.kernel),
          2. * rows * inputs * call.out,
          wide * (double{1} * inputs * call.out + double{1} * pixels * call.in) +
              double(bytesOf(to)) * rows * call.out};
}

}  // namespace

const std::vector<ProductOp>& productOps() {
  static const std::vector<ProductOp> all = {
      {"linear", "clip_linear_bfloat16_skinny", linear, Dtype::bfloat16, ProductOp::skinny},
      {"linear", "clip_linear_float16_skinny", linear, Dtype::float16, ProductOp::skinny},
      {"linear", "clip_linear_bfloat16_square", linear, Dtype::bfloat16, ProductOp::square},
      {"linear", "clip_linear_float16_square", linear, Dtype::float16, ProductOp::square},
      {"linear", "clip_linear_float32", linear, Dtype::float32, ProductOp::float32},
      {"conv", "clip_conv_bfloat16", conv, Dtype::bfloat16, ProductOp::square},
      {"conv", "clip_conv_float16", conv, Dtype::float16, ProductOp::square},
  };
  return all;
}

}  // namespace clip::cuda::check
