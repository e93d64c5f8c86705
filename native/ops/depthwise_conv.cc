#include <algorithm>

#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

namespace clip::ops::depthwiseConv {

// activation: the number of an Activation. With a NaN in the first number under the emulators.
std::vector<Case> cases() {
  const Shapes depthwiseConv{
      {"images", "height", "width", "channels", "multiplier", "kernel", "stride", "pad"}};
  return {
      depthwiseConv("one pixel, one channel", kTested, {1, 1, 1, 1, 1, 3, 1, 1}),
      depthwiseConv("one pixel, 7 x 7", kTested, {1, 1, 1, 5, 1, 7, 1, 3}),
      depthwiseConv("a window as large as the image", kTested, {2, 7, 7, 17, 1, 7, 1, 0}),
      depthwiseConv("3 x 3, stride 1", kTested | kFirstLoad, {2, 9, 11, 33, 1, 3, 1, 1}),
      depthwiseConv("3 x 3, stride 2, gelu", kTested, {2, 9, 12, 40, 1, 3, 2, 1}, {{"activation", 2}}),
      depthwiseConv("3 x 3, stride 1, two outputs per input", kTested, {2, 6, 7, 19, 2, 3, 1, 1}),
      depthwiseConv("3 x 3, stride 2, two outputs per input", kTested, {2, 7, 6, 24, 2, 3, 2, 1}),
      depthwiseConv("7 x 7, stride 1", kTested, {2, 14, 14, 96, 1, 7, 1, 3}),
      depthwiseConv("7 x 7, stride 1, gelu, one column past the tiles", kTested | kFirstLoad,
                    {1, 5, 9, 31, 1, 7, 1, 3}, {{"activation", 2}}),
      depthwiseConv("7 x 7, stride 2, two outputs per input", kTested | kFirstLoad,
                    {2, 13, 10, 21, 2, 7, 2, 3}),
      depthwiseConv("7 x 7, stride 2", kTested, {1, 16, 15, 32, 1, 7, 2, 3}),
      depthwiseConv("7 x 7, several bands of lines", kTested, {1, 70, 66, 18, 1, 7, 1, 3}),
      depthwiseConv("ConvNeXt-base 56 x 56", kTimed, {1, 56, 56, 128, 1, 7, 1, 3}),
      depthwiseConv("ConvNeXt-base 28 x 28", kTimed, {1, 28, 28, 256, 1, 7, 1, 3}),
      depthwiseConv("ConvNeXt-base 14 x 14", kTimed, {1, 14, 14, 512, 1, 7, 1, 3}),
      depthwiseConv("ConvNeXt-base 7 x 7", kTimed, {1, 7, 7, 1024, 1, 7, 1, 3}),
      depthwiseConv("MobileCLIP2-S2 token mixer", kTimed, {1, 64, 64, 80, 1, 3, 1, 1}),
      depthwiseConv("MobileCLIP2-S2 downsampling", kTimed, {1, 64, 64, 80, 2, 7, 2, 3}, {{"activation", 2}}),
  };
}

std::span<const Dtype> dtypes() { return kStored; }

Made made(Machine& m, const Case& c, Dtype to) {
  DepthwiseConv call{.x = {},
                     .w = nullptr,
                     .bias = nullptr,
                     .y = {},
                     .images = c["images"],
                     .height = c["height"],
                     .width = c["width"],
                     .in = c["channels"],
                     .multiplier = c["multiplier"],
                     .kernel = c["kernel"],
                     .stride = c["stride"],
                     .pad = c["pad"],
                     .activation = static_cast<Activation>(c["activation"])};
  const int pixels = call.images * call.height * call.width, taps = call.kernel * call.kernel,
            rows = call.images * call.outHeight() * call.outWidth(), out = call.out();
  Values x = normal(1, pixels, call.in);
  const Values w = normal(2, taps, out, 1 / float(call.kernel)), bias = normal(3, 1, out);
  x.row(0)[0] = std::nanf("");
  call.x = m.matrix(x, Dtype::float32);
  call.w = m.copy(w.data);
  call.bias = m.copy(bias.data);
  call.y = m.output(rows, out, to);
  const auto difference = [=, &m]() mutable {
    const auto reference = [&](Values& xs, const Values& ws, const Values& biases, Activation activation) {
      Values ys(rows, out);
      DepthwiseConv here = call;
      here.x = xs.view();
      here.w = ws.data.data();
      here.bias = biases.data.data();
      here.y = ys.view();
      here.activation = activation;
      referenceBackend.depthwiseConv(Machine::reference(), here);
      return ys;
    };
    const Values want = reference(x, w, bias, call.activation);
    Values ax = absolute(x);
    const Values sizes = reference(ax, absolute(w), absolute(bias), Activation::none);
    // As in the cases of linear: the slope of gelu is below 1.2, its arithmetic is accurate to 2^-20.
    const double ofActivation = call.activation == Activation::none ? 0 : 0x1p-20;
    return m.compareMatrix(call.y, want, [&](int r, int o) {
      return sizes.row(r)[o] * (2 * summed(taps) + ofActivation) + epsilon(to) * std::fabs(want.row(r)[o]) +
             0x1p-24;
    });
  };
  return {running(m, call), difference,
          std::to_string(call.images) + " x " + size(call.height, call.width) + " x " +
              std::to_string(call.in) + " to " + std::to_string(out) + " by " +
              size(call.kernel, call.kernel) + inDtype(to),
          2. * rows * taps * out, 4. * pixels * call.in + 4. * taps * out + double(bytesOf(to)) * rows * out};
}

Job prepare(Call& c) {
  DepthwiseConv op{.x = {},
                   .w = nullptr,
                   .bias = nullptr,
                   .y = {},
                   .images = c.integer("images"),
                   .height = c.integer("height", 1, 16384),
                   .width = c.integer("width", 1, 16384),
                   .in = c.integer("channels", 1, 1 << 20),
                   .multiplier = c.integer("multiplier", 1, 2),
                   .kernel = c.integer("kernel", 3, 7),
                   .stride = c.integer("stride", 1, 2),
                   .pad = c.integer("pad", 0, 16),
                   .activation = c.choice<Activation>(
                       "activation", {{"none", Activation::none}, {"gelu", Activation::gelu}})};
  if (op.kernel != 3 && op.kernel != 7) wrong("kernel", "be 3 or 7", std::to_string(op.kernel));
  if (std::min(op.height, op.width) + 2 * op.pad < op.kernel)
    wrong("kernel", "fit into the image", std::to_string(op.kernel));
  const size_t pixels = product({rowsOf(op.images), rowsOf(op.height), rowsOf(op.width)}),
               out = rowsOf(op.out()),
               outRows = product({rowsOf(op.images), rowsOf(op.outHeight()), rowsOf(op.outWidth())});
  if (product({std::max(pixels, outRows), out}) > INT32_MAX / 4)
    wrong("images", "be smaller", std::to_string(op.images));
  const auto x = c.array<float>("x", {pixels, rowsOf(op.in)});
  const auto weight = c.array<float>("weight", {rowsOf(op.kernel), rowsOf(op.kernel), out});
  const auto bias = c.array<float>("bias", {out});
  const Dtype outDtype = c.rowDtype("outDtype");
  requireFloats("outDtype", outDtype);
  const LentMatrix y = c.outputMatrix("out", static_cast<int>(outRows), op.out(), outDtype);
  return [=](const Backend& b, Context& context, Arrays& at) {
    DepthwiseConv call = op;
    call.x = at.dense(x, op.in);
    call.w = at(weight);
    call.bias = at(bias);
    call.y = at(y);
    b.depthwiseConv(context, call);
  };
}

}  // namespace clip::ops::depthwiseConv
