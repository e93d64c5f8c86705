#include "check_support.h"
#include "conv.h"
#include "ops.h"

namespace clip::cuda::check {
namespace {

enum class Family : uint8_t { skinny, square, float32 };

// Several blocks each way, several slices of inputs, tails everywhere.
std::string linear(Device& d, Family family, Dtype dtype) {
  const int rows = family == Family::square ? 131 : 67, in = 300, out = family == Family::square ? 130 : 42;
  Values x = normal(1, rows, in, 1, dtype), w = normal(2, out, in, 1 / std::sqrt(float(in)), dtype);
  Values bias = normal(3, 1, out), residual = normal(4, rows, out);
  const Dtype to = family == Family::square ? dtype : Dtype::float32;
  Linear call{.x = d.matrix(x, dtype),
              .w = d.weight(w, dtype),
              .bias = d.copy(bias.data),
              .residual = d.matrix(residual, Dtype::float32),
              .y = d.matrix(rows, out, to),
              .rows = rows,
              .in = in,
              .out = out,
              .nonlinearity = dtype == Dtype::float16 ? Nonlinearity::gelu : Nonlinearity::quickGelu};
  if (family == Family::skinny)
    d.stream().run(linearSkinnyLaunch(call), call, d.stream().linearScratch(call));
  else
    d.stream().run(family == Family::square ? linearSquareLaunch(call) : linearFloat32Launch(call), call);
  const auto reference = [&](Values& x1, Values& w1, bool all) {
    Values y(rows, out);
    referenceBackend.linear(Device::reference(),
                            {.x = x1.activations(),
                             .w = w1.data.data(),
                             .bias = all ? bias.data.data() : nullptr,
                             .residual = all ? residual.activations() : Activations{},
                             .y = y.activations(),
                             .rows = rows,
                             .in = in,
                             .out = out,
                             .nonlinearity = all ? call.nonlinearity : Nonlinearity::none});
    return y;
  };
  const Values want = reference(x, w, true);
  Values ax = absolute(x), aw = absolute(w);
  const Values sizes = reference(ax, aw, false);  // sum of |x w|
  // Sums of `in` terms in float32; the nonlinearities' slopes are below 1.2, their arithmetic good to 2^-20
  // of what they take; y is rounded once.
  return compare(d.values(call.y, rows, out), want, [&](int r, int c) {
    return (sizes.row(r)[c] + 8) * ((in + 16) * 0x1p-23 + 0x1p-20) + epsilon(to) * std::fabs(want.row(r)[c]) +
           0x1p-24;
  });
}

std::string conv(Device& d, Dtype dtype) {
  Conv call{.x = {},
            .w = nullptr,
            .dtype = dtype,
            .bias = nullptr,
            .y = {},
            .images = 2,
            .height = 9,
            .width = 11,
            .in = dtype == Dtype::bfloat16 ? 24 : 5,
            .out = 66,
            .kernel = 3,
            .stride = 2,
            .pad = 1};
  const int pixels = call.images * call.height * call.width, inputs = 9 * call.in,
            rows = call.images * call.outHeight() * call.outWidth();
  Values x = normal(1, pixels, call.in, 1, dtype),
         w = normal(2, call.out, inputs, 1 / std::sqrt(float(inputs)), dtype);
  const Values bias = normal(3, 1, call.out);
  call.x = d.matrix(x, dtype);
  call.w = d.weight(w, dtype);
  call.bias = d.copy(bias.data);
  call.y = d.matrix(rows, call.out, Dtype::float32);
  d.stream().run(convLaunch(call), call);
  const auto reference = [&](Values& x1, Values& w1) {
    Values y(rows, call.out);
    Conv c = call;
    c.x = x1.activations();
    c.w = w1.data.data();
    c.dtype = Dtype::float32;
    c.bias = bias.data.data();
    c.y = y.activations();
    referenceBackend.conv(Device::reference(), c);
    return y;
  };
  const Values want = reference(x, w);
  Values ax = absolute(x), aw = absolute(w);
  const Values sizes = reference(ax, aw);
  return compare(d.values(call.y, rows, call.out), want, [&](int r, int c) {
    return (sizes.row(r)[c] + 2 * std::fabs(bias.data[c])) * (inputs + 16) * 0x1p-23 +
           0x1p-24 * std::fabs(want.row(r)[c]) + 0x1p-24;
  });
}

}  // namespace

void addProducts(std::vector<Check>& checks) {
  const auto product = [&](const char* kernel, Family family, Dtype dtype) {
    checks.push_back({{kernel}, [=](Device& d) { return linear(d, family, dtype); }});
  };
  product("clip_linear_bfloat16_skinny", Family::skinny, Dtype::bfloat16);
  product("clip_linear_float16_skinny", Family::skinny, Dtype::float16);
  product("clip_linear_bfloat16_square", Family::square, Dtype::bfloat16);
  product("clip_linear_float16_square", Family::square, Dtype::float16);
  product("clip_linear_float32", Family::float32, Dtype::float32);
  checks.push_back({{"clip_conv_bfloat16"}, [](Device& d) { return conv(d, Dtype::bfloat16); }});
  checks.push_back({{"clip_conv_float16"}, [](Device& d) { return conv(d, Dtype::float16); }});
}

}  // namespace clip::cuda::check
