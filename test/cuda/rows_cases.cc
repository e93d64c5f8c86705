// clip_layer_norm, clip_normalise, clip_convert, clip_embed, clip_gather, clip_patches and clip_pool against
// reference*.cc.
#include "rows.h"

#include "matrices.h"

namespace {

using namespace clip;
using device::Machine;
using device::Matrix;
using device::Values;

// A float32 sum of n terms, in ulps of its size.
double summed(int n) { return (n + 8) * 0x1p-23; }

std::string layerNorm(const Machine& m, int rows, int cols, Dtype to, float shift, bool nan) {
  Values x = device::normal(1, rows, cols);
  for (float& v : x.data) v = v * 3 + shift;
  if (nan) x.row(rows / 2)[cols / 2] = std::nanf("");
  Values weight = device::normal(2, 1, cols), bias = device::normal(3, 1, cols), want(rows, cols);
  const device::Memory w = device::copyOf(weight.data), b = device::copyOf(bias.data);
  const Matrix xs(x, Dtype::float32), y(rows, cols, to, 4);
  LayerNorm call{.x = xs.activations(),
                 .weight = w.as<float>(),
                 .bias = b.as<float>(),
                 .y = y.activations(),
                 .rows = rows,
                 .cols = cols,
                 .epsilon = 1e-5f};
  device::run(m, cuda::launchOf(call), call);
  call.x = x.activations();
  call.y = want.activations();
  referenceBackend.layerNorm(device::referenceContext(), call);
  // (x - mean) is off by the mean's roundings, of the size of the largest x.
  float most = 0;
  for (const float v : x.data)
    if (v == v) most = std::max(most, std::fabs(v));
  return device::compareMatrix(y, want, [&](int r, int c) {
    double variance = 0, mean = 0;
    for (int i = 0; i < cols; i++) mean += x.row(r)[i] / cols;
    for (int i = 0; i < cols; i++) variance += (x.row(r)[i] - mean) * (x.row(r)[i] - mean) / cols;
    const double unit = 1 / std::sqrt(variance + 1e-5), w1 = std::fabs(weight.data[c]);
    const double normed = std::fabs((x.row(r)[c] - mean) * unit) + 1;
    return w1 * (summed(cols) * most * unit * normed + summed(cols) * normed) +
           0x1p-22 * std::fabs(bias.data[c]) + device::epsilon(to) * std::fabs(want.row(r)[c]) + 0x1p-24;
  });
}

std::string normalise(const Machine& m, int rows, int cols, float scale, bool inPlace) {
  Values x = device::normal(1, rows, cols, scale), want(rows, cols);
  if (rows > 2) std::fill_n(x.row(1), cols, 0.f);
  if (rows > 3) x.row(3)[0] = std::nanf("");
  const Matrix xs(x, Dtype::float32), apart(rows, cols, Dtype::float32);
  const Matrix& y = inPlace ? xs : apart;
  Normalise call{.x = xs.activations(), .y = y.activations(), .rows = rows, .cols = cols};
  device::run(m, cuda::launchOf(call), call);
  call.x = x.activations();
  call.y = want.activations();
  referenceBackend.normalise(device::referenceContext(), call);
  return device::compareMatrix(y, want,
                               [&](int r, int c) { return summed(cols) * std::fabs(want.row(r)[c]); });
}

std::string convert(const Machine& m, int rows, int cols, Dtype to) {
  Values x = device::normal(1, rows, cols, 100);
  const float special[] = {0.f,       -0.f,         INFINITY,   -INFINITY,   std::nanf(""),
                           65519.f,   65520.f,      3e38f,      1e-30f,      0x1p-24f,
                           0x1p-130f, -0x1.8p-127f, 0x1.8p-25f, 1.00390625f, 1.01171875f};
  for (size_t i = 0; i < std::size(special) && i < x.data.size(); i++) x.data[i] = special[i];
  const Matrix xs(x, Dtype::float32), y(rows, cols, to, 4);
  const Convert call{.x = xs.activations(), .y = y.activations(), .rows = rows, .cols = cols};
  device::run(m, cuda::launchOf(call), call);
  return device::compareMatrix(y, device::rounded(x, to), [](int, int) { return 0; });
}

std::string embed(const Machine& m, int rows, int cols, Dtype table, bool padding) {
  const Values values = device::rounded(device::normal(1, 9, cols), table);
  Values position = device::normal(2, 7, cols), want(rows, cols);
  const Matrix tables(values, table);
  const device::Memory positions = device::copyOf(position.data);
  std::vector<int32_t> id(rows), at(rows);
  for (int r = 0; r < rows; r++) id[r] = r * 5 % 9, at[r] = r * 3 % 7;
  if (padding) id[rows - 1] = -1;
  const device::Memory ids = device::copyOf(id), ats = device::copyOf(at);
  const Matrix y(rows, cols, Dtype::float32);
  const Activations t = tables.activations();
  Embed call{.table = t.data,
             .tableStride = t.stride,
             .tableDtype = table,
             .ids = ids.as<int32_t>(),
             .positions = positions.as<float>(),
             .position = ats.as<int32_t>(),
             .y = y.activations(),
             .rows = rows,
             .cols = cols};
  device::run(m, cuda::launchOf(call), call);
  call.y = want.activations();
  call.rows = rows - padding;
  referenceBackend.embed(device::referenceContext(), call);
  if (padding) std::fill_n(want.row(rows - 1), cols, std::nanf(""));  // as it was
  return device::compareMatrix(y, want, [](int, int) { return 0; });
}

std::string gather(const Machine& m) {
  const Values x = device::normal(1, 6, 70);
  const std::vector<int32_t> row{5, 0, 0, -1, 3};
  const device::Memory rows = device::copyOf(row);
  const Matrix xs(x, Dtype::float32), y(5, 70, Dtype::float32);
  const Gather call{
      .x = xs.activations(), .row = rows.as<int32_t>(), .y = y.activations(), .count = 5, .cols = 70};
  device::run(m, cuda::launchOf(call), call);
  Values want(5, 70);
  for (int r = 0; r < 5; r++)
    for (int c = 0; c < 70; c++) want.row(r)[c] = row[r] < 0 ? std::nanf("") : x.row(row[r])[c];
  return device::compareMatrix(y, want, [](int, int) { return 0; });
}

std::string patches(const Machine& m, int images, int size, int patch, Dtype to, bool bytes) {
  std::mt19937 random(1);
  std::vector<uint8_t> pixel(static_cast<size_t>(images) * size * size * 3);
  for (uint8_t& p : pixel) p = static_cast<uint8_t>(random());
  const Values value = device::normal(2, 3, 256), plane = device::normal(3, images * 3 * size, size);
  const device::Memory pixels = device::copyOf(pixel), values = device::copyOf(value.data),
                       planes = device::copyOf(plane.data);
  const int rows = images * (size / patch) * (size / patch), cols = 3 * patch * patch;
  const Matrix y(rows, cols, to);
  Values want(rows, cols);
  Patches call{.pixels = bytes ? pixels.as<uint8_t>() : nullptr,
               .value = values.as<float>(),
               .planes = planes.as<float>(),
               .y = y.activations(),
               .images = images,
               .size = size,
               .patch = patch};
  device::run(m, cuda::launchOf(call), call);
  call.y = want.activations();
  referenceBackend.patches(device::referenceContext(), call);
  return device::compareMatrix(y, device::rounded(want, to), [](int, int) { return 0; });
}

std::string pool(const Machine& m, int height, int width, int channels, int ky, int kx, Dtype to) {
  const int images = 2, rows = images * (height / ky) * (width / kx);
  Values x = device::normal(1, images * height * width, channels), want(rows, channels);
  x.row(0)[0] = std::nanf("");
  const Matrix xs(x, Dtype::float32), y(rows, channels, to);
  Pooling call{.x = xs.activations(),
               .y = y.activations(),
               .images = images,
               .height = height,
               .width = width,
               .channels = channels,
               .kernelHeight = ky,
               .kernelWidth = kx};
  device::run(m, cuda::launchOf(call), call);
  call.x = x.activations();
  call.y = want.activations();
  referenceBackend.pool(device::referenceContext(), call);
  return device::compareMatrix(y, want, [&](int r, int c) {
    return summed(ky * kx) * 4 + device::epsilon(to) * std::fabs(want.row(r)[c]);
  });
}

std::string softmaxCrossEntropy(const Machine& m, int rows, int cols, float scale, Dtype from, Dtype to,
                                bool inPlace, bool extremes) {
  Values x = device::rounded(device::normal(1, rows, cols, scale), from), want(rows, cols), losses(1, rows);
  std::vector<int32_t> target(rows);
  for (int r = 0; r < rows; r++) target[r] = r % 3 == 2 ? -1 : r * 37 % cols;
  if (extremes) {
    const float infinity = INFINITY;
    x.row(0)[cols / 2] = infinity;
    std::fill_n(x.row(1), cols - 1, -infinity);
    x.row(2)[0] = std::nanf("");  // does not count
    x.row(3)[cols - 1] = std::nanf("");
    std::fill_n(x.row(4), cols, -infinity);
    x.row(6)[target[6]] = -infinity;
  }
  const Matrix xs(x, from, 4), apart(rows, cols, to, 4);
  const Matrix& y = inPlace ? xs : apart;
  const device::Memory targets = device::copyOf(target), loss(size_t{4} * rows);
  SoftmaxCrossEntropy call{.x = xs.activations(),
                           .target = targets.as<int32_t>(),
                           .loss = loss.as<float>(),
                           .gradient = y.activations(),
                           .rows = rows,
                           .cols = cols,
                           .scale = 0.25f};
  device::run(m, cuda::launchOf(call), call);
  Values got(1, rows);
  std::copy_n(loss.as<float>(), rows, got.data.begin());
  call.x = x.activations();
  call.target = target.data();
  call.loss = losses.data.data();
  call.gradient = want.activations();
  referenceBackend.softmaxCrossEntropy(device::referenceContext(), call);
  float most = 0;
  for (const float v : x.data)
    if (std::isfinite(v)) most = std::max(most, std::fabs(v));
  // Differences of logits, exponentials and their sum round; of the target 1 is subtracted.
  const double relative = summed(cols) + 4 * most * 0x1p-23;
  const std::string wrong =
      device::compare(got, losses, [&](int, int) { return 2 * relative + std::log(cols) * 0x1p-22; });
  if (!wrong.empty()) return "loss: " + wrong;
  return device::compareMatrix(y, want, [&](int r, int c) {
    return (relative + device::epsilon(to)) * std::fabs(want.row(r)[c]) +
           (c == target[r] ? 0.25 * relative : 0) + (to == Dtype::float32 ? 1e-37 : 0x1p-25);
  });
}

void addAll(const Machine& m, const std::string& group) {
  const auto add = [&](const std::string& name, cases::Body body) {
    cases::add(group, name, std::move(body));
  };
  for (const Dtype to : device::kStored) {
    const std::string name = device::nameOf(to);
    for (const auto& [rows, cols] : {std::pair{1, 1}, {5, 31}, {3, 64}, {2, 768}, {9, 100}}) {
      add(cases::format("layerNorm %d x %d to %s", rows, cols, name.c_str()),
          [&m, rows = rows, cols = cols, to] { return layerNorm(m, rows, cols, to, 0, false); });
      add(cases::format("convert %d x %d to %s, extremes", rows, cols, name.c_str()),
          [&m, rows = rows, cols = cols, to] { return convert(m, rows, cols, to); });
    }
    add("layerNorm to " + name + ", mean 1000", [&m, to] { return layerNorm(m, 3, 512, to, 1000, false); });
    add("layerNorm to " + name + ", NaN stays in its row",
        [&m, to] { return layerNorm(m, 5, 70, to, 0, true); });
    add("embed from " + name, [&m, to] { return embed(m, 11, 100, to, false); });
    add("embed from " + name + ", a padding row", [&m, to] { return embed(m, 6, 33, to, true); });
    for (const bool bytes : {true, false})
      for (const auto& [size, patch] : {std::pair{8, 4}, {10, 3}, {14, 14}, {5, 1}})
        add(cases::format("patches of %d of %d to %s from %s", patch, size, name.c_str(),
                          bytes ? "bytes" : "planes"),
            [&m, size = size, patch = patch, to, bytes] { return patches(m, 2, size, patch, to, bytes); });
    add("pool 7 x 6 by 2 to " + name, [&m, to] { return pool(m, 7, 6, 33, 2, 2, to); });
    add("pool 5 x 4 by 5 x 1 to " + name, [&m, to] { return pool(m, 5, 4, 8, 5, 1, to); });
  }
  for (const Dtype to : device::kStored) {
    const std::string name = std::string("softmaxCrossEntropy in ") + device::nameOf(to);
    for (const auto& [rows, cols] : {std::pair{1, 1}, {3, 31}, {5, 64}, {7, 300}})
      add(cases::format("%s, %d x %d", name.c_str(), rows, cols), [&m, rows = rows, cols = cols, to] {
        return softmaxCrossEntropy(m, rows, cols, 4, to, to, false, false);
      });
    add(name + " in place", [&m, to] { return softmaxCrossEntropy(m, 5, 100, 4, to, to, true, false); });
    add(name + ", infinities and NaN",
        [&m, to] { return softmaxCrossEntropy(m, 8, 70, 4, to, Dtype::float32, false, true); });
  }
  add("softmaxCrossEntropy, logits of +-1000",
      [&m] { return softmaxCrossEntropy(m, 4, 90, 500, Dtype::float32, Dtype::float32, false, false); });
  for (const int cols : {1, 33, 512})
    for (const bool inPlace : {false, true}) {
      add(cases::format("normalize 5 x %d%s: a zero row, a NaN", cols, inPlace ? " in place" : ""),
          [&m, cols, inPlace] { return normalise(m, 5, cols, 1, inPlace); });
    }
  add("normalize, tiny numbers", [&m] { return normalise(m, 2, 64, 1e-12f, false); });
  add("gather, a padding row", [&m] { return gather(m); });
}

const cases::Registration registration([] {
  addAll(device::fibers(), "rows");
  if (device::ptx()) addAll(*device::ptx(), "rows-ptx");
});

}  // namespace
