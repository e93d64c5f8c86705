#include "ops/call.h"
#include "ops/cases.h"

namespace clip::ops::gather {

// `rows` of a matrix of 40 or, if given, `from` rows. padding: the last row's number is negative.
std::vector<Case> cases() {
  const Shapes gather{{"rows", "cols"}};
  return {
      gather("icon-clip", kTested, {32, 192}),
      gather("ViT-B/32 text", kTested, {10, 512}),
      gather("one element", kTested, {1, 1}),
      gather("odd sizes", kTested, {7, 37}),
      gather("one short of the vectors", kTested, {3, 31}),
      gather("a row of padding", kEmulated | kFirstLoad, {5, 70}, {{"padding", 1}}),
      gather("64 images of ViT-B/32", kTimed, {64, 768}, {{"from", 3200}}),
  };
}

Job prepare(Call& c) {
  const int count = c.integer("count"), cols = c.integer("cols");
  const auto x = c.arrayOfRows<float>("x", cols);
  auto row = c.indices("row", count, 0, static_cast<int64_t>(x.length() / cols) - 1);
  const auto out = c.output<float>("out", {rowsOf(count), rowsOf(cols)});
  return [=, row = std::move(row)](const Backend& b, Context& context, Arrays& at) {
    b.gather(
        context,
        {.x = at.dense(x, cols), .row = at(row), .y = at.dense(out, cols), .count = count, .cols = cols});
  };
}

}  // namespace clip::ops::gather
