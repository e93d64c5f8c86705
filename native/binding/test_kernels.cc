// What is not an op and is only called by tests.
#include "binding/kernel_call.h"
#include "binding/surface.h"

#include <cstring>

namespace clip::binding {
namespace {

// resizeAndCrop and the normalization table, which belong to the model, as a kernel for tests.
Napi::Value preprocess(KernelCall& c) {
  const PreprocessConfig config = readPreprocess(c.value("preprocess"));
  checkPreprocess(config);
  const Image image = readImage(c.value("image"), "image", config.size, [&c](const HeldInput& in) {
    Loan loan(in.array, in.field, Loan::Use::read);
    const void* data = loan.as<void>();
    c.keep(std::move(loan));
    return data;
  });
  const size_t side = rowsOf(config.size), pixels = side * side;
  float* const out = c.output<float>("out", {3, pixels}).host;
  return c.run([=](const Backend& b, Context& context, ops::Arrays&) {
    if (image.planes) {
      std::memcpy(out, image.planes, 3 * pixels * sizeof(float));
      return;
    }
    std::vector<uint8_t> rgb(3 * pixels);
    resizeAndCrop(b, context, config, image, rgb.data());
    float value[3 * 256];
    normaliseTable(config, value);
    for (size_t channel = 0; channel < 3; ++channel)
      for (size_t i = 0; i < pixels; ++i)
        out[channel * pixels + i] = value[channel * 256 + rgb[3 * i + channel]];
  });
}

}  // namespace

void addPreprocess(Napi::Object kernels) { addKernel(kernels, "preprocess", preprocess); }

}  // namespace clip::binding
