#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

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

std::span<const Dtype> dtypes() { return kFloat32; }

Made made(Machine& m, const Case& c, Dtype) {
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
  return {running(m, call), difference, size(count, cols), 0, 8. * count * cols};
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
