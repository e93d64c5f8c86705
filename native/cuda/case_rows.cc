// The ops that go row by row, on the cases of ops/.
#include <algorithm>
#include <cstring>
#include <memory>

#include "check_support.h"
#include "rows.h"

namespace clip::cuda::check {
namespace {

using ops::Case;

std::string size(int a, int b) { return std::to_string(a) + " x " + std::to_string(b); }
std::string inDtype(Dtype t) {
  return t == Dtype::bfloat16 ? " in bfloat16" : t == Dtype::float16 ? " in float16" : "";
}
float scaleOf(const Case& c) { return static_cast<float>(c.number("scale", 1)); }

// The launch of a call whose struct lives as long as the case.
template <class Arguments>
std::function<void()> launching(Machine& m, const Arguments& call) {
  return [&m, call] { m.run(launchOf(call), {&call}); };
}

Made layerNorm(Machine& m, const Case& c, Dtype to) {
  const int rows = c["rows"], cols = c["cols"];
  Values x = normal(1, rows, cols, scaleOf(c));
  for (float& v : x.data) v += static_cast<float>(c.number("shift"));
  if (c["nan"]) x.row(rows / 2)[cols / 2] = std::nanf("");
  const Values weight = normal(2, 1, cols), bias = normal(3, 1, cols);
  const LayerNorm call{.x = m.matrix(x, Dtype::float32),
                       .weight = m.copy(weight.data),
                       .bias = m.copy(bias.data),
                       .y = m.output(rows, cols, to),
                       .rows = rows,
                       .cols = cols,
                       .epsilon = static_cast<float>(c.number("epsilon", 1e-5))};
  const auto difference = [=, &m]() mutable {
    Values want(rows, cols);
    LayerNorm here = call;
    here.x = x.view();
    here.y = want.view();
    here.weight = weight.data.data();
    here.bias = bias.data.data();
    referenceBackend.layerNorm(Machine::reference(), here);
    // (x - mean) is off by the mean's roundings, of the size of the largest x.
    float most = 0;
    for (const float v : x.data)
      if (v == v) most = std::max(most, std::fabs(v));
    Values unit(rows, 1), mean(rows, 1);
    for (int r = 0; r < rows; r++) {
      double sum = 0, squares = 0;
      for (int i = 0; i < cols; i++) sum += x.row(r)[i] / double(cols);
      for (int i = 0; i < cols; i++) squares += (x.row(r)[i] - sum) * (x.row(r)[i] - sum) / cols;
      mean.data[r] = float(sum);
      unit.data[r] = float(1 / std::sqrt(squares + here.epsilon));
    }
    return m.compareMatrix(call.y, want, [&](int r, int i) {
      const double w = std::fabs(weight.data[i]), u = unit.data[r];
      const double normed = std::fabs((x.row(r)[i] - mean.data[r]) * u) + 1;
      return w * (summed(cols) * most * u * normed + summed(cols) * normed) +
             0x1p-22 * std::fabs(bias.data[i]) + epsilon(to) * std::fabs(want.row(r)[i]) + 0x1p-24;
    });
  };
  return {launching(m, call), difference, size(rows, cols) + inDtype(to), 8. * rows * cols,
          (4. + double(bytesOf(to))) * rows * cols + 8. * cols};
}

Made normalise(Machine& m, const Case& c, Dtype) {
  const int rows = c["rows"], cols = c["cols"];
  Values x = normal(1, rows, cols, scaleOf(c));
  if (rows > 2) {
    std::fill_n(x.row(0), cols, 0.f);
    x.row(1)[cols - 1] = std::nanf("");
  }
  // In place: a lane writes where it has read. What is normalised again stays as it is.
  const MatrixView y = m.matrix(x, Dtype::float32);
  const Normalise call{.x = y, .y = y, .rows = rows, .cols = cols};
  const auto difference = [=, &m]() mutable {
    Values want(rows, cols);
    referenceBackend.normalise(Machine::reference(),
                               {.x = x.view(), .y = want.view(), .rows = rows, .cols = cols});
    return m.compareMatrix(y, want, [&](int r, int i) { return summed(cols) * std::fabs(want.row(r)[i]); });
  };
  return {launching(m, call), difference, size(rows, cols), 3. * rows * cols, 8. * rows * cols};
}

Made cast(Machine& m, const Case& c, Dtype to) {
  const int rows = c["rows"], cols = c["cols"];
  Values x = normal(1, rows, cols, scaleOf(c));
  const float special[] = {0.f,       -0.f,         INFINITY,   -INFINITY,   std::nanf(""),
                           65519.f,   65520.f,      3e38f,      1e-30f,      0x1p-24f,
                           0x1p-130f, -0x1.8p-127f, 0x1.8p-25f, 1.00390625f, 1.01171875f};
  for (size_t i = 0; i < std::size(special) && i < x.data.size(); i++) x.data[i] = special[i];
  const Cast call{
      .x = m.matrix(x, Dtype::float32), .y = m.output(rows, cols, to), .rows = rows, .cols = cols};
  const auto difference = [=, &m] {
    return m.compareMatrix(call.y, rounded(x, to), [](int, int) { return 0; });
  };
  return {launching(m, call), difference, size(rows, cols) + inDtype(to), 0,
          (4. + double(bytesOf(to))) * rows * cols};
}

Made embed(Machine& m, const Case& c, Dtype dtype) {
  const int rows = c["rows"], cols = c["cols"];
  const Values table = normal(1, 50, cols, 1, dtype), position = normal(2, 33, cols);
  std::vector<int32_t> id(rows), at(rows);
  for (int r = 0; r < rows; r++) id[r] = (49 + r * 5) % 50, at[r] = (32 + r * 3) % 33;
  if (c["padding"]) id[rows - 1] = -1;
  const MatrixView there = m.matrix(table, dtype);
  const Embed call{.table = there.data,
                   .tableStride = there.stride,
                   .tableDtype = dtype,
                   .ids = m.copy(id),
                   .positions = m.copy(position.data),
                   .position = m.copy(at),
                   .y = m.output(rows, cols, Dtype::float32),
                   .rows = rows,
                   .cols = cols};
  const auto difference = [=, &m] {
    // One addition: there is only one right answer. A row of padding stays as it was.
    Values want(rows, cols);
    for (int r = 0; r < rows; r++)
      for (int i = 0; i < cols; i++)
        want.row(r)[i] = id[r] < 0 ? std::nanf("") : table.row(id[r])[i] + position.row(at[r])[i];
    return m.compareMatrix(call.y, want, [](int, int) { return 0; });
  };
  return {launching(m, call), difference, size(rows, cols) + inDtype(dtype), 1. * rows * cols,
          (8. + double(bytesOf(dtype))) * rows * cols};
}

Made gather(Machine& m, const Case& c, Dtype) {
  const int count = c["rows"], cols = c["cols"], from = static_cast<int>(c.number("from", 40));
  const Values x = normal(1, from, cols);
  std::vector<int32_t> row(count);
  for (int i = 0; i < count; i++) row[i] = (i * 7 + 3) % from;
  if (c["padding"]) row[count - 1] = -1;
  const Gather call{.x = m.matrix(x, Dtype::float32),
                    .row = m.copy(row),
                    .y = m.output(count, cols, Dtype::float32),
                    .count = count,
                    .cols = cols};
  const auto difference = [=, &m] {
    Values want(count, cols);
    for (int r = 0; r < count; r++)
      for (int i = 0; i < cols; i++) want.row(r)[i] = row[r] < 0 ? std::nanf("") : x.row(row[r])[i];
    return m.compareMatrix(call.y, want, [](int, int) { return 0; });
  };
  return {launching(m, call), difference, size(count, cols), 0, 8. * count * cols};
}

// Of bytes, then of planes.
Made patches(Machine& m, const Case& c, Dtype to) {
  const int images = c["images"], side = c["size"], patch = c["patch"], grid = side / patch;
  const int rows = images * grid * grid, cols = 3 * patch * patch;
  const Values value = normal(2, 3, 256), planes = normal(3, images * 3 * side, side);
  std::vector<uint8_t> pixels(static_cast<size_t>(images) * side * side * 3);
  for (size_t i = 0; i < pixels.size(); i++) pixels[i] = static_cast<uint8_t>(i * 37 + i / 256);
  const Patches ofBytes{.pixels = m.copy(pixels),
                        .value = m.copy(value.data),
                        .planes = m.copy(planes.data),
                        .y = m.output(rows, cols, to),
                        .images = images,
                        .size = side,
                        .patch = patch};
  Patches ofPlanes = ofBytes;
  ofPlanes.pixels = nullptr;
  ofPlanes.y = m.output(rows, cols, to);
  const auto run = [=, &m] { m.run(launchOf(ofBytes), {&ofBytes}); };
  const auto difference = [=, &m]() mutable {
    m.run(launchOf(ofPlanes), {&ofPlanes});
    for (const bool bytes : {true, false}) {
      Values want(rows, cols);
      Patches here = ofBytes;
      here.pixels = bytes ? pixels.data() : nullptr;
      here.value = value.data.data();
      here.planes = planes.data.data();
      here.y = want.view();
      referenceBackend.patches(Machine::reference(), here);
      const std::string wrong =
          m.compareMatrix((bytes ? ofBytes : ofPlanes).y, rounded(want, to), [](int, int) { return 0; });
      if (!wrong.empty()) return (bytes ? "of bytes: " : "of planes: ") + wrong;
    }
    return std::string();
  };
  return {run, difference, size(rows, cols) + inDtype(to), 0,
          (1. + double(bytesOf(to))) * rows * cols + 3. * 256 * 4};
}

Made pool(Machine& m, const Case& c, Dtype to) {
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
  return {launching(m, call), difference,
          std::to_string(images) + " x " + size(height, width) + " x " + std::to_string(channels) + " by " +
              size(ky, kx) + inDtype(to),
          1. * pixels * channels, 4. * pixels * channels + double(bytesOf(to)) * rows * channels};
}

Made softmaxCrossEntropy(Machine& m, const Case& c, Dtype dtype) {
  const int rows = c["rows"], cols = c["cols"];
  const float scale = 0.25f;
  Values x = normal(1, rows, cols, scaleOf(c), dtype);
  std::vector<int32_t> target(rows);
  for (int r = 0; r < rows; r++) target[r] = r % 3 == 2 ? -1 : r * 37 % cols;
  if (c["extremes"]) {
    const float infinity = INFINITY;
    x.row(0)[cols / 2] = infinity;
    std::fill_n(x.row(1), cols - 1, -infinity);
    x.row(2)[0] = std::nanf("");  // does not count
    x.row(3)[cols - 1] = std::nanf("");
    std::fill_n(x.row(4), cols, -infinity);
    x.row(6)[target[6]] = -infinity;
  }
  const MatrixView logits = m.matrix(x, dtype);
  const SoftmaxCrossEntropy call{.x = logits,
                                 .target = m.copy(target),
                                 .loss = m.copy(std::vector<float>(rows)),
                                 .gradient = c["inPlace"] ? logits : m.output(rows, cols, dtype),
                                 .rows = rows,
                                 .cols = cols,
                                 .scale = scale};
  const auto difference = [=, &m]() mutable {
    Values got(1, rows), losses(1, rows), want(rows, cols);
    got.data = m.floats(call.loss, rows);
    SoftmaxCrossEntropy here = call;
    here.x = x.view();
    here.target = target.data();
    here.loss = losses.data.data();
    here.gradient = want.view();
    referenceBackend.softmaxCrossEntropy(Machine::reference(), here);
    float most = 0;
    for (const float v : x.data)
      if (std::isfinite(v)) most = std::max(most, std::fabs(v));
    // Differences of logits, exponentials and their sum round; of the target 1 is subtracted.
    const double relative = summed(cols) + 4 * most * 0x1p-23;
    const std::string wrong =
        compare(got, losses, [&](int, int) { return 2 * relative + std::log(cols) * 0x1p-22; });
    if (!wrong.empty()) return "loss: " + wrong;
    return m.compareMatrix(call.gradient, want, [&](int r, int i) {
      return (relative + epsilon(dtype)) * std::fabs(want.row(r)[i]) +
             (i == target[r] ? scale * relative : 0) + (dtype == Dtype::float32 ? 1e-37 : 0x1p-25);
    });
  };
  return {launching(m, call), difference, size(rows, cols) + inDtype(dtype), 8. * rows * cols,
          3. * double(bytesOf(dtype)) * rows * cols};
}

}  // namespace

const std::vector<RowOp>& rowOps() {
  static const std::vector<RowOp> all = {
      {"layerNorm", "clip_layer_norm", layerNorm, true},
      {"normalise", "clip_normalise", normalise, false},
      {"cast", "clip_cast", cast, true},
      {"embed", "clip_embed", embed, true},
      {"gather", "clip_gather", gather, false},
      {"patches", "clip_patches", patches, true},
      {"pool", "clip_pool", pool, true},
      {"softmaxCrossEntropy", "clip_softmax_cross_entropy", softmaxCrossEntropy, true},
      {"cosineSoftmax", "clip_cosine_scores", cosineScores, false},
      {"cosineSoftmax", "clip_softmax_rows", softmaxRows, false},
      {"cosineTopK", "clip_cosine_top_k", cosineTopK, false},
      {"cosineTopK", "clip_cosine_top_k_merge", cosineTopKMerge, false},
      {"infoNce", "clip_info_nce", infoNce, false},
      {"infoNce", "clip_info_nce_loss", infoNceLoss, false},
  };
  return all;
}

}  // namespace clip::cuda::check
