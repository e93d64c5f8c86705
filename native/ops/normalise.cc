#include <algorithm>

#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

namespace clip::ops::normalise {

// Row 0 is zeros, and row 1 has a NaN, where there are three rows.
std::vector<Case> cases() {
  const Shapes normalise{{"rows", "cols"}};
  return {
      normalise("icon-clip", kTested, {32, 192}, {{"scale", 1000}}),
      normalise("ViT-B/32 text", kTested, {10, 512}, {{"scale", 1000}}),
      normalise("one element", kTested, {1, 1}, {{"scale", 1000}}),
      normalise("one column", kTested, {5, 1}),
      normalise("odd sizes", kTested | kFirstLoad, {7, 37}),
      normalise("one short of the vectors", kTested, {3, 31}),
      normalise("tiny numbers", kTested, {2, 64}, {{"scale", 1e-12}}),
      normalise("64 images of ViT-B/32", kTimed, {64, 512}),
  };
}

std::span<const Dtype> dtypes() { return kFloat32; }

Made made(Machine& m, const Case& c, Dtype) {
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
  return {running(m, call), difference, size(rows, cols), 3. * rows * cols, 8. * rows * cols};
}

Job prepare(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const auto x = c.array<float>("x", {rowsOf(rows), rowsOf(cols)});
  const auto out = c.output<float>("out", {rowsOf(rows), rowsOf(cols)});
  return [=](const Backend& b, Context& context, Arrays& at) {
    b.normalise(context, {.x = at.dense(x, cols), .y = at.dense(out, cols), .rows = rows, .cols = cols});
  };
}

}  // namespace clip::ops::normalise
