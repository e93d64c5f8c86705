#include "ops/call.h"
#include "ops/cases.h"

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

Job prepare(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const auto x = c.array<float>("x", {rowsOf(rows), rowsOf(cols)});
  const auto out = c.output<float>("out", {rowsOf(rows), rowsOf(cols)});
  return [=](const Backend& b, Context& context, Arrays& at) {
    b.normalise(context, {.x = at.dense(x, cols), .y = at.dense(out, cols), .rows = rows, .cols = cols});
  };
}

}  // namespace clip::ops::normalise
