#include "ops/call.h"
#include "ops/cases.h"

namespace clip::ops::conv {

// narrow: y has the type of x. activation: the number of an Activation, by default that of ReLU.
std::vector<Case> cases() {
  const Shapes conv{{"images", "height", "width", "inChannels", "outChannels", "kernel", "stride", "pad"}};
  return {
      conv("3 to 32 channels, kernel 1, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 3, 32, 1, 1, 0}),
      conv("3 to 32 channels, kernel 1, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 3, 32, 1, 1, 1}),
      conv("3 to 32 channels, kernel 1, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 3, 32, 1, 2, 0}),
      conv("3 to 32 channels, kernel 1, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 3, 32, 1, 2, 1}),
      conv("3 to 32 channels, kernel 3, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 3, 32, 3, 1, 0}),
      conv("3 to 32 channels, kernel 3, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 3, 32, 3, 1, 1}),
      conv("3 to 32 channels, kernel 3, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 3, 32, 3, 2, 0}),
      conv("3 to 32 channels, kernel 3, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 3, 32, 3, 2, 1}),
      conv("17 to 5 channels, kernel 1, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 17, 5, 1, 1, 0}),
      conv("17 to 5 channels, kernel 1, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 17, 5, 1, 1, 1}),
      conv("17 to 5 channels, kernel 1, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 17, 5, 1, 2, 0}),
      conv("17 to 5 channels, kernel 1, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 17, 5, 1, 2, 1}),
      conv("17 to 5 channels, kernel 3, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 17, 5, 3, 1, 0}),
      conv("17 to 5 channels, kernel 3, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 17, 5, 3, 1, 1}),
      conv("17 to 5 channels, kernel 3, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 17, 5, 3, 2, 0}),
      conv("17 to 5 channels, kernel 3, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 17, 5, 3, 2, 1}),
      conv("48 to 96 channels, kernel 1, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 48, 96, 1, 1, 0}),
      conv("48 to 96 channels, kernel 1, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 48, 96, 1, 1, 1}),
      conv("48 to 96 channels, kernel 1, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 48, 96, 1, 2, 0}),
      conv("48 to 96 channels, kernel 1, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 48, 96, 1, 2, 1}),
      conv("48 to 96 channels, kernel 3, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 48, 96, 3, 1, 0}),
      conv("48 to 96 channels, kernel 3, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 48, 96, 3, 1, 1}),
      conv("48 to 96 channels, kernel 3, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 48, 96, 3, 2, 0}),
      conv("48 to 96 channels, kernel 3, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 48, 96, 3, 2, 1}),
      conv("96 to 33 channels, kernel 1, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 96, 33, 1, 1, 0}),
      conv("96 to 33 channels, kernel 1, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 96, 33, 1, 1, 1}),
      conv("96 to 33 channels, kernel 1, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 96, 33, 1, 2, 0}),
      conv("96 to 33 channels, kernel 1, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 96, 33, 1, 2, 1}),
      conv("96 to 33 channels, kernel 3, stride 1, pad 0, 7 x 5", kTested, {2, 7, 5, 96, 33, 3, 1, 0}),
      conv("96 to 33 channels, kernel 3, stride 1, pad 1, 7 x 5", kTested, {2, 7, 5, 96, 33, 3, 1, 1}),
      conv("96 to 33 channels, kernel 3, stride 2, pad 0, 9 x 8", kTested, {2, 9, 8, 96, 33, 3, 2, 0}),
      conv("96 to 33 channels, kernel 3, stride 2, pad 1, 9 x 8", kTested, {2, 9, 8, 96, 33, 3, 2, 1}),
      conv("an image of one pixel", kTested, {1, 1, 1, 1, 1, 3, 1, 1}),
      conv("a window as large as the image", kTested, {3, 3, 3, 7, 9, 3, 2, 0}),
      conv("more pixels than a block holds", kTested, {1, 33, 31, 96, 19, 3, 1, 1}),
      conv("1 x 1 x 1 x 8 to 1, kernel 1, stride 1, pad 0", kTested, {1, 1, 1, 8, 1, 1, 1, 0}),
      conv("2 x 9 x 7 x 3 to 16, kernel 3, stride 2, pad 1", kTested, {2, 9, 7, 3, 16, 3, 2, 1}),
      conv("1 x 8 x 8 x 16 to 65, kernel 3, stride 1, pad 1", kTested, {1, 8, 8, 16, 65, 3, 1, 1}),
      conv("1 x 13 x 12 x 24 to 33, kernel 3, stride 1, pad 1", kTested, {1, 13, 12, 24, 33, 3, 1, 1}),
      conv("1 x 5 x 6 x 5 to 3, kernel 3, stride 1, pad 1", kTested, {1, 5, 6, 5, 3, 3, 1, 1}),
      conv("1 x 12 x 12 x 8 to 4, kernel 5, stride 3, pad 2", kTested, {1, 12, 12, 8, 4, 5, 3, 2}),
      conv("3 x 4 x 4 x 40 to 10, kernel 1, stride 2, pad 0", kTested, {3, 4, 4, 40, 10, 1, 2, 0}),
      conv("1 x 3 x 3 x 8 to 2, kernel 3, stride 1, pad 0", kTested, {1, 3, 3, 8, 2, 3, 1, 0}),
      conv("none, by windows", kTested, {2, 9, 8, 3, 33, 3, 2, 1}, {{"activation", 0}}),
      conv("none, by lines", kTested, {2, 7, 5, 48, 33, 3, 1, 1}, {{"activation", 0}}),
      conv("gelu, by windows", kTested, {2, 9, 8, 3, 33, 3, 2, 1}, {{"activation", 2}}),
      conv("gelu, by lines", kTested | kFirstLoad, {2, 7, 5, 48, 33, 3, 1, 1}, {{"activation", 2}}),
      conv("2 x 9 x 7 x 3 to 16, narrow", kEmulated, {2, 9, 7, 3, 16, 3, 2, 1}, {{"narrow", 1}}),
      conv("1 x 8 x 8 x 16 to 65, narrow", kEmulated, {1, 8, 8, 16, 65, 3, 1, 1}, {{"narrow", 1}}),
      conv("1 x 12 x 12 x 8 to 4, narrow", kEmulated, {1, 12, 12, 8, 4, 5, 3, 2}, {{"narrow", 1}}),
      conv("1 x 1 x 1 x 8 to 1, narrow", kEmulated, {1, 1, 1, 8, 1, 1, 1, 0}, {{"narrow", 1}}),
      conv("1 x 13 x 12 x 24 to 33, narrow", kEmulated, {1, 13, 12, 24, 33, 3, 1, 1}, {{"narrow", 1}}),
      conv("1 x 5 x 6 x 5 to 3, narrow", kEmulated, {1, 5, 6, 5, 3, 3, 1, 1}, {{"narrow", 1}}),
      conv("3 x 4 x 4 x 40 to 10, narrow", kEmulated, {3, 4, 4, 40, 10, 1, 2, 0}, {{"narrow", 1}}),
      conv("1 x 3 x 3 x 8 to 2, narrow", kEmulated, {1, 3, 3, 8, 2, 3, 1, 0}, {{"narrow", 1}}),
      conv("NaN stays where it is seen", kEmulated, {2, 6, 6, 8, 9, 3, 1, 1}, {{"nan", 1}}),
      conv("24 channels to 66", kEmulated | kFirstLoad, {2, 9, 11, 24, 66, 3, 2, 1}),
      conv("5 channels to 66", kEmulated | kFirstLoad, {2, 9, 11, 5, 66, 3, 2, 1}),
      conv("16 images, the first layer of RN50", kTimed, {16, 56, 56, 64, 64, 3, 1, 1}, {{"narrow", 1}}),
  };
}

Job prepare(Call& c) {
  const int images = c.integer("images"), height = c.integer("height", 1, 16384),
            width = c.integer("width", 1, 16384), in = c.integer("inChannels"),
            out = c.integer("outChannels"), kernel = c.integer("kernel", 1, 16),
            stride = c.integer("stride", 1, 16), pad = c.integer("pad", 0, 16);
  if (height + 2 * pad < kernel || width + 2 * pad < kernel)
    wrong("kernel", "fit into the image", std::to_string(kernel));
  const size_t columns = product({rowsOf(kernel), rowsOf(kernel), rowsOf(in)});
  if (columns > INT32_MAX / 4) wrong("inChannels", "be smaller", std::to_string(in));
  const size_t pixels = product({rowsOf(images), rowsOf(height), rowsOf(width)});
  if (pixels > INT32_MAX / 4) wrong("images", "be smaller", std::to_string(images));
  Conv op{.x = {},
          .w = nullptr,
          .dtype = c.rowDtype("dtype"),
          .bias = nullptr,
          .y = {},
          .images = images,
          .height = height,
          .width = width,
          .in = in,
          .out = out,
          .kernel = kernel,
          .stride = stride,
          .pad = pad,
          .activation = c.choice<Activation>(
              "activation",
              {{"none", Activation::none}, {"gelu", Activation::gelu}, {"relu", Activation::relu}})};
  const auto bias = c.array<float>("bias", {rowsOf(out)});
  const auto x = c.array<float>("x", {pixels, rowsOf(in)});
  const auto weight = c.array<float>("weight", {rowsOf(out), columns});
  const size_t outRows = product({rowsOf(images), rowsOf(op.outHeight()), rowsOf(op.outWidth())});
  const Dtype outDtype = c.rowDtype("outDtype");
  requireFloats("outDtype", outDtype);
  const LentMatrix y = c.outputMatrix("out", static_cast<int>(outRows), out, outDtype);
  return [=](const Backend& b, Context& context, Arrays& at) {
    Conv call = op;
    call.w = at.packed(weight, static_cast<int>(columns), op.out, op.dtype);
    // int8 quantises its windows itself.
    call.x = at.castTo(x, static_cast<int>(pixels), op.in,
                       op.dtype == Dtype::bfloat16 ? op.dtype : Dtype::float32);
    call.bias = at(bias);
    call.y = at(y);
    b.conv(context, call);
  };
}

}  // namespace clip::ops::conv
