#include <algorithm>

#include "check_support.h"
#include "half.h"
#include "ops.h"

namespace clip::cuda::check {
namespace {

// A float32 sum of n terms, in ulps of its size.
double summed(int n) { return (n + 8) * 0x1p-23; }

std::string layerNorm(Device& d) {
  const int rows = 6, cols = 100;
  Values x = normal(1, rows, cols, 3);
  const Values weight = normal(2, 1, cols), bias = normal(3, 1, cols);
  for (const Dtype to : {Dtype::float32, Dtype::bfloat16, Dtype::float16}) {
    LayerNorm call{.x = d.matrix(x, Dtype::float32),
                   .weight = d.copy(weight.data),
                   .bias = d.copy(bias.data),
                   .y = d.matrix(rows, cols, to),
                   .rows = rows,
                   .cols = cols,
                   .epsilon = 1e-5f};
    ops::run(d.context(), call);
    const Values got = d.values(call.y, rows, cols);
    Values want(rows, cols);
    call.x = x.activations();
    call.y = want.activations();
    call.weight = weight.data.data();
    call.bias = bias.data.data();
    referenceBackend.layerNorm(Device::reference(), call);
    // (x - mean) is off by the mean's roundings, of the size of the largest x: below 12 here, whose deviation
    // is at least 2.
    const std::string wrong = compare(got, want, [&](int r, int c) {
      return std::fabs(weight.data[c]) * summed(cols) * 7 * 6 + 0x1p-22 * std::fabs(bias.data[c]) +
             epsilon(to) * std::fabs(want.row(r)[c]) + 0x1p-24;
    });
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string normalise(Device& d) {
  const int rows = 5, cols = 70;
  Values x = normal(1, rows, cols, 3), want(rows, cols);
  std::fill_n(x.row(1), cols, 0.f);
  const Activations y = d.matrix(x, Dtype::float32);
  ops::run(d.context(), Normalise{.x = y, .y = y, .rows = rows, .cols = cols});
  referenceBackend.normalise(Device::reference(),
                             {.x = x.activations(), .y = want.activations(), .rows = rows, .cols = cols});
  return compare(d.values(y, rows, cols), want,
                 [&](int r, int c) { return summed(cols) * std::fabs(want.row(r)[c]); });
}

std::string convert(Device& d) {
  const Values x = normal(1, 5, 70, 100);
  for (const Dtype to : {Dtype::float32, Dtype::bfloat16, Dtype::float16}) {
    const Activations y = d.matrix(5, 70, to);
    ops::run(d.context(), Convert{.x = d.matrix(x, Dtype::float32), .y = y, .rows = 5, .cols = 70});
    const std::string wrong =
        compare(d.values(y, 5, 70), normal(1, 5, 70, 100, to), [](int, int) { return 0; });
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string embed(Device& d) {
  const int rows = 7, cols = 70;
  const Values position = normal(2, 7, cols);
  std::vector<int32_t> id(rows), at(rows);
  for (int r = 0; r < rows; r++) id[r] = r * 5 % 9, at[r] = r * 3 % 7;
  id[rows - 1] = -1;
  for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::float16}) {
    Values table = normal(1, 9, cols, 1, dtype), want(rows, cols);
    const Activations there = d.matrix(table, dtype), y = d.matrix(rows, cols, Dtype::float32);
    ops::run(d.context(), Embed{.table = there.data,
                                .tableStride = there.stride,
                                .tableDtype = dtype,
                                .ids = d.copy(id),
                                .positions = d.copy(position.data),
                                .position = d.copy(at),
                                .y = y,
                                .rows = rows,
                                .cols = cols});
    // The padding row stays the zeros that it was.
    for (int r = 0; r + 1 < rows; r++)
      for (int c = 0; c < cols; c++) want.row(r)[c] = table.row(id[r])[c] + position.row(at[r])[c];
    const std::string wrong = compare(d.values(y, rows, cols), want, [](int, int) { return 0; });
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string gather(Device& d) {
  const Values x = normal(1, 6, 70);
  const std::vector<int32_t> row{5, 0, 0, -1, 3};
  const Activations y = d.matrix(5, 70, Dtype::float32);
  ops::run(d.context(),
           Gather{.x = d.matrix(x, Dtype::float32), .row = d.copy(row), .y = y, .count = 5, .cols = 70});
  Values want(5, 70);
  for (int r = 0; r < 5; r++)
    if (row[r] >= 0) std::copy_n(x.row(row[r]), 70, want.row(r));
  return compare(d.values(y, 5, 70), want, [](int, int) { return 0; });
}

std::string patches(Device& d) {
  const int images = 2, size = 10, patch = 3, rows = images * 9, cols = 27;
  const Values value = normal(2, 3, 256), planes = normal(3, images * 3 * size, size);
  std::vector<uint8_t> pixels(static_cast<size_t>(images) * size * size * 3);
  for (size_t i = 0; i < pixels.size(); i++) pixels[i] = static_cast<uint8_t>(i * 37 + i / 256);
  for (const bool bytes : {true, false}) {
    Patches call{.pixels = bytes ? d.copy(pixels) : nullptr,
                 .value = d.copy(value.data),
                 .planes = d.copy(planes.data),
                 .y = d.matrix(rows, cols, Dtype::float32),
                 .images = images,
                 .size = size,
                 .patch = patch};
    ops::run(d.context(), call);
    const Values got = d.values(call.y, rows, cols);
    Values want(rows, cols);
    call.pixels = bytes ? pixels.data() : nullptr;
    call.value = value.data.data();
    call.planes = planes.data.data();
    call.y = want.activations();
    referenceBackend.patches(Device::reference(), call);
    const std::string wrong = compare(got, want, [](int, int) { return 0; });
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string pool(Device& d) {
  const int height = 7, width = 6, channels = 33, rows = 2 * 3 * 3;
  Values x = normal(1, 2 * height * width, channels), want(rows, channels);
  Pooling call{.x = d.matrix(x, Dtype::float32),
               .y = d.matrix(rows, channels, Dtype::float32),
               .images = 2,
               .height = height,
               .width = width,
               .channels = channels,
               .kernelHeight = 2,
               .kernelWidth = 2};
  ops::run(d.context(), call);
  const Values got = d.values(call.y, rows, channels);
  call.x = x.activations();
  call.y = want.activations();
  referenceBackend.pool(Device::reference(), call);
  return compare(got, want, [&](int, int) { return summed(4) * 4; });
}

// Several columns for each lane, and rows that do not count.
std::string softmaxCrossEntropy(Device& d) {
  const int rows = 6, cols = 300;
  const float scale = 0.25f;
  const std::vector<int32_t> target{0, 299, -1, 17, 255, -1};
  for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::float16}) {
    Values x = normal(1, rows, cols, 4, dtype), gradient(rows, cols), loss(1, rows);
    const std::vector<float> zeros(rows);
    SoftmaxCrossEntropy call{.x = d.matrix(x, dtype),
                             .target = d.copy(target),
                             .loss = d.copy(zeros),
                             .gradient = d.matrix(rows, cols, dtype),
                             .rows = rows,
                             .cols = cols,
                             .scale = scale};
    ops::run(d.context(), call);
    const Values got = d.values(call.gradient, rows, cols);
    Values gotLoss(1, rows);
    gotLoss.data = d.floats(call.loss, rows);
    call.x = x.activations();
    call.target = target.data();
    call.loss = loss.data.data();
    call.gradient = gradient.activations();
    referenceBackend.softmaxCrossEntropy(Device::reference(), call);
    // Differences of logits, which are below 25 here, exponentials and their sum round; of the target 1 is
    // subtracted.
    const double relative = summed(cols) + 25 * 0x1p-23;
    std::string wrong = compare(gotLoss, loss, [&](int, int) { return relative + 25 * 0x1p-22; });
    if (wrong.empty())
      wrong = compare(got, gradient, [&](int r, int c) {
        return (relative + epsilon(dtype)) * std::fabs(gradient.row(r)[c]) +
               (c == target[r] ? scale * relative : 0) + 0x1p-25;
      });
    if (!wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace

void addRows(std::vector<Check>& checks) {
  checks.push_back({{"clip_layer_norm"}, layerNorm});
  checks.push_back({{"clip_normalise"}, normalise});
  checks.push_back({{"clip_convert"}, convert});
  checks.push_back({{"clip_embed"}, embed});
  checks.push_back({{"clip_gather"}, gather});
  checks.push_back({{"clip_patches"}, patches});
  checks.push_back({{"clip_pool"}, pool});
  checks.push_back({{"clip_softmax_cross_entropy"}, softmaxCrossEntropy});
}

}  // namespace clip::cuda::check
