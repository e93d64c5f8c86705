#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

namespace clip::ops::pool {

// With a NaN in the first number under the emulators.
std::vector<Case> cases() {
  const Shapes pool{{"images", "height", "width", "channels", "kernelHeight", "kernelWidth"}};
  return {
      pool("2 of 8 x 6, 32 channels, by 2 x 2", kTested, {2, 8, 6, 32, 2, 2}),
      pool("2 of 7 x 9, 17 channels, by 2 x 2", kTested, {2, 7, 9, 17, 2, 2}),
      pool("2 of 7 x 6, 33 channels, by 2 x 2", kTested | kFirstLoad, {2, 7, 6, 33, 2, 2}),
      pool("3 of 7 x 7, 96 channels, by 7 x 7", kTested, {3, 7, 7, 96, 7, 7}),
      pool("1 of 5 x 4, 3 channels, by 2 x 3", kTested, {1, 5, 4, 3, 2, 3}),
      pool("2 of 5 x 4, 8 channels, by 5 x 1", kTested, {2, 5, 4, 8, 5, 1}),
      pool("1 of 1 x 1, 1 channels, by 1 x 1", kTested, {1, 1, 1, 1, 1, 1}),
      pool("16 images before RN50's second layer", kTimed, {16, 56, 56, 256, 2, 2}),
  };
}

std::span<const Dtype> dtypes() { return kStored; }

Made made(Machine& m, const Case& c, Dtype to) {
  const int images = c["images"], height = c["height"], width = c["width"], channels = c["channels"],
            ky = c["kernelHeight"], kx = c["kernelWidth"];
  const int pixels = images * height * width, rows = images * (height / ky) * (width / kx);
  Values x = normal(1, pixels, channels);
  x.row(0)[0] = std::nanf("");
  const Pooling call{.x = m.matrix(x, Dtype::float32),
                     .y = m.output(rows, channels, to),
                     .images = images,
                     .height = height,
                     .width = width,
                     .channels = channels,
                     .kernelHeight = ky,
                     .kernelWidth = kx};
  const auto difference = [=, &m]() mutable {
    Values want(rows, channels);
    Pooling here = call;
    here.x = x.view();
    here.y = want.view();
    referenceBackend.pool(Machine::reference(), here);
    return m.compareMatrix(call.y, want, [&](int r, int i) {
      return summed(ky * kx) * 4 + epsilon(to) * std::fabs(want.row(r)[i]);
    });
  };
  return {running(m, call), difference,
          std::to_string(images) + " x " + size(height, width) + " x " + std::to_string(channels) + " by " +
              size(ky, kx) + inDtype(to),
          1. * pixels * channels, 4. * pixels * channels + double(bytesOf(to)) * rows * channels};
}

Job prepare(Call& c) {
  const int images = c.integer("images"), height = c.integer("height", 1, 16384),
            width = c.integer("width", 1, 16384), channels = c.integer("channels"),
            kernelHeight = c.integer("kernelHeight", 1, height),
            kernelWidth = c.integer("kernelWidth", 1, width);
  const size_t pixels = product({rowsOf(images), rowsOf(height), rowsOf(width)});
  if (pixels > INT32_MAX / 4) wrong("images", "be smaller", std::to_string(images));
  const auto x = c.array<float>("x", {pixels, rowsOf(channels)});
  const size_t outRows =
      product({rowsOf(images), rowsOf(height / kernelHeight), rowsOf(width / kernelWidth)});
  const Dtype outDtype = c.rowDtype("outDtype");
  requireFloats("outDtype", outDtype);
  const LentMatrix y = c.outputMatrix("out", static_cast<int>(outRows), channels, outDtype);
  return [=](const Backend& b, Context& context, Arrays& at) {
    b.pool(context, {.x = at.dense(x, channels),
                     .y = at(y),
                     .images = images,
                     .height = height,
                     .width = width,
                     .channels = channels,
                     .kernelHeight = kernelHeight,
                     .kernelWidth = kernelWidth});
  };
}

}  // namespace clip::ops::pool
