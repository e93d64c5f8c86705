#include <algorithm>

#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

namespace clip::ops::cast {

// The first numbers are those that a 16-bit type rounds in some special way.
std::vector<Case> cases() {
  const Shapes cast{{"rows", "cols"}};
  return {
      cast("1 columns", kTested, {3, 1}),
      cast("2 columns", kTested, {3, 2}),
      cast("3 columns", kTested, {3, 3}),
      cast("7 columns", kTested, {3, 7}),
      cast("8 columns", kTested, {3, 8}),
      cast("15 columns", kTested, {3, 15}),
      cast("16 columns", kTested, {3, 16}),
      cast("17 columns", kTested, {3, 17}),
      cast("31 columns", kTested, {3, 31}),
      cast("32 columns", kTested, {3, 32}),
      cast("33 columns", kTested, {3, 33}),
      cast("64 columns", kTested, {3, 64}),
      cast("65 columns", kTested, {3, 65}),
      cast("100 columns", kTested | kFirstLoad, {9, 100}, {{"scale", 100}}),
      cast("768 columns", kTested, {3, 768}),
      cast("64 images of ViT-B/32", kTimed, {3200, 768}),
  };
}

std::span<const Dtype> dtypes() { return kStored; }

Made made(Machine& m, const Case& c, Dtype to) {
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
  return {running(m, call), difference, size(rows, cols) + inDtype(to), 0,
          (4. + double(bytesOf(to))) * rows * cols};
}

Job prepare(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const auto x = c.array<float>("x", {rowsOf(rows), rowsOf(cols)});
  const LentMatrix y = c.outputMatrix("out", rows, cols, c.rowDtype("outDtype"));
  return [=](const Backend& b, Context& context, Arrays& at) {
    b.cast(context, {.x = at.dense(x, cols), .y = at(y), .rows = rows, .cols = cols});
  };
}

}  // namespace clip::ops::cast
