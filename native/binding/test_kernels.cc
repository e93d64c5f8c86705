// The ops that have no public kernel, each as one call: for tests only.
#include "binding/kernel_call.h"
#include "binding/surface.h"

#include <cstring>

namespace clip::binding {
namespace {

Napi::Value embed(KernelCall& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const auto table = c.arrayOfRows<float>("table", cols), positions = c.arrayOfRows<float>("positions", cols);
  auto ids = c.indices("ids", rows, 0, static_cast<int64_t>(table.length() / cols) - 1);
  auto position = c.indices("position", rows, 0, static_cast<int64_t>(positions.length() / cols) - 1);
  const auto out = c.output<float>("out", {rowsOf(rows), rowsOf(cols)});
  return c.run([=, ids = std::move(ids), position = std::move(position)](const Backend& b, Context& context,
                                                                         Arrays& at) {
    b.embed(context, {.table = at(table),
                      .tableStride = cols * sizeof(float),
                      .tableDtype = Dtype::float32,
                      .ids = at(ids),
                      .positions = at(positions),
                      .position = at(position),
                      .y = at.dense(out, cols),
                      .rows = rows,
                      .cols = cols});
  });
}

Napi::Value cast(KernelCall& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const auto x = c.array<float>("x", {rowsOf(rows), rowsOf(cols)});
  const LentMatrix y = c.outputMatrix("out", rows, cols, c.dtype("outDtype"));
  return c.run([=](const Backend& b, Context& context, Arrays& at) {
    b.cast(context, {.x = at.dense(x, cols), .y = at(y), .rows = rows, .cols = cols});
  });
}

Napi::Value gather(KernelCall& c) {
  const int count = c.integer("count"), cols = c.integer("cols");
  const auto x = c.arrayOfRows<float>("x", cols);
  auto row = c.indices("row", count, 0, static_cast<int64_t>(x.length() / cols) - 1);
  const auto out = c.output<float>("out", {rowsOf(count), rowsOf(cols)});
  return c.run([=, row = std::move(row)](const Backend& b, Context& context, Arrays& at) {
    b.gather(
        context,
        {.x = at.dense(x, cols), .row = at(row), .y = at.dense(out, cols), .count = count, .cols = cols});
  });
}

Napi::Value normalise(KernelCall& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const auto x = c.array<float>("x", {rowsOf(rows), rowsOf(cols)});
  const auto out = c.output<float>("out", {rowsOf(rows), rowsOf(cols)});
  return c.run([=](const Backend& b, Context& context, Arrays& at) {
    b.normalise(context, {.x = at.dense(x, cols), .y = at.dense(out, cols), .rows = rows, .cols = cols});
  });
}

Napi::Value patches(KernelCall& c) {
  const int images = c.integer("images"), size = c.integer("size", 1, 16384),
            patch = c.integer("patch", 1, size);
  const size_t grid = rowsOf(size / patch), cols = size_t{3} * patch * patch;
  if (cols > INT32_MAX / 4) wrong("patch", "be smaller", std::to_string(patch));
  const bool bytes = c.has("pixels");
  if (bytes == c.has("planes")) wrong("pixels", "be given, or else `planes`", bytes ? "both" : "neither");
  const auto pixels = bytes ? c.array<uint8_t>("pixels", {rowsOf(images), rowsOf(size), rowsOf(size), 3})
                            : Lent<const uint8_t>{};
  const auto value = bytes ? c.array<float>("value", {3 * 256}) : Lent<const float>{};
  const auto planes =
      bytes ? Lent<const float>{} : c.array<float>("planes", {rowsOf(images), 3, rowsOf(size), rowsOf(size)});
  const int rows = checkedRows(c, "images", images, static_cast<int>(grid * grid));
  const Dtype outDtype = c.dtype("outDtype");
  if (outDtype == Dtype::int8) wrong("outDtype", "be 'float32' or 'bfloat16'", "'int8'");
  const LentMatrix y = c.outputMatrix("out", rows, static_cast<int>(cols), outDtype);
  return c.run([=](const Backend& b, Context& context, Arrays& at) {
    b.patches(context, {.pixels = at(pixels),
                        .value = at(value),
                        .planes = at(planes),
                        .y = at(y),
                        .images = images,
                        .size = size,
                        .patch = patch});
  });
}

// resizeAndCrop and the normalize table, which are the model's: a kernel for tests only.
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
  return c.run([=](const Backend& b, Context& context, Arrays&) {
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

Napi::Value conv(KernelCall& c) {
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
          .dtype = c.dtype("dtype"),
          .bias = nullptr,
          .y = {},
          .images = images,
          .height = height,
          .width = width,
          .in = in,
          .out = out,
          .kernel = kernel,
          .stride = stride,
          .pad = pad};
  const auto bias = c.array<float>("bias", {rowsOf(out)});
  const auto x = c.array<float>("x", {pixels, rowsOf(in)});
  const auto weight = c.array<float>("weight", {rowsOf(out), columns});
  const size_t outRows = product({rowsOf(images), rowsOf(op.outHeight()), rowsOf(op.outWidth())});
  const Dtype outDtype = c.dtype("outDtype");
  if (outDtype == Dtype::int8) wrong("outDtype", "be 'float32' or 'bfloat16'", "'int8'");
  const LentMatrix y = c.outputMatrix("out", static_cast<int>(outRows), out, outDtype);
  return c.run([=](const Backend& b, Context& context, Arrays& at) {
    Conv call = op;
    call.w = packed(at, weight, static_cast<int>(columns), op.out, op.dtype);
    // int8 quantises windows itself.
    call.x = castTo(at, x, static_cast<int>(pixels), op.in,
                    op.dtype == Dtype::bfloat16 ? op.dtype : Dtype::float32);
    call.bias = at(bias);
    call.y = at(y);
    b.conv(context, call);
  });
}

Napi::Value pool(KernelCall& c) {
  const int images = c.integer("images"), height = c.integer("height", 1, 16384),
            width = c.integer("width", 1, 16384), channels = c.integer("channels"),
            kernelHeight = c.integer("kernelHeight", 1, height),
            kernelWidth = c.integer("kernelWidth", 1, width);
  const size_t pixels = product({rowsOf(images), rowsOf(height), rowsOf(width)});
  if (pixels > INT32_MAX / 4) wrong("images", "be smaller", std::to_string(images));
  const auto x = c.array<float>("x", {pixels, rowsOf(channels)});
  const size_t outRows =
      product({rowsOf(images), rowsOf(height / kernelHeight), rowsOf(width / kernelWidth)});
  const Dtype outDtype = c.dtype("outDtype");
  if (outDtype == Dtype::int8) wrong("outDtype", "be 'float32' or 'bfloat16'", "'int8'");
  const LentMatrix y = c.outputMatrix("out", static_cast<int>(outRows), channels, outDtype);
  return c.run([=](const Backend& b, Context& context, Arrays& at) {
    b.pool(context, {.x = at.dense(x, channels),
                     .y = at(y),
                     .images = images,
                     .height = height,
                     .width = width,
                     .channels = channels,
                     .kernelHeight = kernelHeight,
                     .kernelWidth = kernelWidth});
  });
}

}  // namespace

void addTestKernels(const AddKernel& add) {
  add("cast", cast);
  add("embed", embed);
  add("gather", gather);
  add("normalise", normalise);
  add("patches", patches);
  add("preprocess", preprocess);
  add("conv", conv);
  add("pool", pool);
}

}  // namespace clip::binding
