#include <algorithm>

#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

namespace clip::ops::layerNorm {

// shift: added to x.
std::vector<Case> cases() {
  const Shapes layerNorm{{"rows", "cols"}};
  return {
      layerNorm("icon-clip, 3 rows", kTested, {3, 192}),
      layerNorm("ViT-B/32, 3 rows", kTested, {3, 768}),
      layerNorm("ViT-L/14, 3 rows", kTested, {3, 1024}),
      layerNorm("ViT-bigG-14, 3 rows", kTested, {3, 1664}),
      layerNorm("one of everything", kTested, {1, 1}),
      layerNorm("1 columns", kTested, {5, 1}),
      layerNorm("2 columns", kTested, {5, 2}),
      layerNorm("7 columns", kTested, {5, 7}),
      layerNorm("15 columns", kTested, {5, 15}),
      layerNorm("16 columns", kTested, {5, 16}),
      layerNorm("17 columns", kTested, {5, 17}),
      layerNorm("31 columns", kTested, {5, 31}),
      layerNorm("33 columns", kTested, {5, 33}),
      layerNorm("63 columns", kTested, {5, 63}),
      layerNorm("65 columns", kTested, {5, 65}),
      layerNorm("100 columns", kTested, {9, 100}),
      layerNorm("large values", kTested | kFirstLoad, {6, 100}, {{"scale", 3}}),
      layerNorm("one row", kTested, {1, 64}),
      layerNorm("mean far from zero", kTested, {4, 192}, {{"shift", 100}}),
      layerNorm("mean 1000", kTested, {3, 512}, {{"scale", 3}, {"shift", 1000}}),
      layerNorm("large epsilon", kTested, {4, 50}, {{"epsilon", 0.5}}),
      layerNorm("a NaN stays in its row", kTested, {5, 70}, {{"nan", 1}}),
      layerNorm("ViT-B/32", kTimed, {50, 768}),
      layerNorm("ViT-L/14", kTimed, {257, 1024}),
      layerNorm("64 images of ViT-B/32", kTimed, {3200, 768}),
  };
}

std::span<const Dtype> dtypes() { return kStored; }

Made made(Machine& m, const Case& c, Dtype to) {
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
  return {running(m, call), difference, size(rows, cols) + inDtype(to), 8. * rows * cols,
          (4. + double(bytesOf(to))) * rows * cols + 8. * cols};
}

Job prepare(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const double epsilon = c.number("epsilon");
  if (epsilon < 0) wrong("epsilon", "be at least 0", std::to_string(epsilon));
  const auto x = c.array<float>("x", {rowsOf(rows), rowsOf(cols)});
  const auto weight = c.array<float>("weight", {rowsOf(cols)});
  const auto bias = c.array<float>("bias", {rowsOf(cols)});
  const LentMatrix y = c.outputMatrix("out", rows, cols, c.rowDtype("outDtype"));
  return [=](const Backend& b, Context& context, Arrays& at) {
    b.layerNorm(context, {.x = at.dense(x, cols),
                          .weight = at(weight),
                          .bias = at(bias),
                          .y = at(y),
                          .rows = rows,
                          .cols = cols,
                          .epsilon = static_cast<float>(epsilon)});
  };
}

}  // namespace clip::ops::layerNorm
