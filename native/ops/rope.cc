#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

namespace clip::ops::rope {

constexpr int kPositions = 19;

// A table of 19 positions; every third row is not rotated. nan: one of the numbers is a NaN.
std::vector<Case> cases() {
  const Shapes rope{{"rows", "heads", "dim"}};
  return {
      rope("PE-Core-B, 5 rows", kTested, {5, 24, 64}),
      rope("PE-Core-G, 4 rows", kTested, {4, 4, 96}),
      rope("one pair", kTested, {1, 1, 2}),
      rope("heads of 4", kTested | kFirstLoad, {7, 3, 4}),
      rope("heads of 12", kTested, {4, 5, 12}),
      rope("heads of 24", kTested | kFirstLoad, {5, 8, 24}, {{"scale", 100}}),
      rope("heads of 88", kTested, {3, 2, 88}),
      rope("a NaN stays in its pair", kTested, {4, 2, 20}, {{"nan", 1}}),
      rope("4 images of PE-Core-B", kTimed, {788, 24, 64}),
      rope("an image of PE-Core-L", kTimed, {577, 32, 64}),
  };
}

std::span<const Dtype> dtypes() { return kStored; }

Made made(Machine& m, const Case& c, Dtype to) {
  const int rows = c["rows"], heads = c["heads"], dim = c["dim"], cols = heads * dim;
  Values x = normal(1, rows, cols, scaleOf(c), to);
  if (c["nan"]) x.row(rows - 1)[cols / 2] = std::nanf("");
  const Values table = normal(2, kPositions, 2 * dim);
  std::vector<int32_t> position(rows);
  for (int r = 0; r < rows; r++) position[r] = r % 3 == 1 ? -1 : (kPositions - 1 + r * 5) % kPositions;
  const Rope call{.x = m.matrix(x, to),
                  .y = m.output(rows, cols, to),
                  .table = m.copy(table.data),
                  .position = m.copy(position),
                  .rows = rows,
                  .heads = heads,
                  .dim = dim};
  const auto difference = [=, &m]() mutable {
    Values want(rows, cols);
    Rope here = call;
    here.x = x.view();
    here.y = want.view();
    here.table = table.data.data();
    here.position = position.data();
    referenceBackend.rope(Machine::reference(), here);
    // Two products and a sum, each rounded.
    return m.compareMatrix(call.y, want, [&](int r, int i) -> double {
      if (position[r] < 0) return 0;
      const float* cosine = table.row(position[r]) + i % dim;
      const double both = std::fabs(x.row(r)[i] * cosine[0]) + std::fabs(x.row(r)[i ^ 1] * cosine[dim]);
      return 0x1p-22 * both + epsilon(to) * std::fabs(want.row(r)[i]) + 0x1p-24;
    });
  };
  return {running(m, call), difference, size(rows, heads) + " x " + std::to_string(dim) + inDtype(to),
          3. * rows * cols, (2. * double(bytesOf(to))) * rows * cols + 8. * rows * dim};
}

Job prepare(Call& c) {
  const int rows = c.integer("rows"), heads = c.integer("heads", 1, 1 << 16),
            dim = c.integer("dim", 2, 1 << 14), cols = heads * dim;
  if (dim % 2) wrong("dim", "be an even number", std::to_string(dim));
  const Dtype dtype = c.rowDtype("dtype");
  requireFloats("dtype", dtype);
  const LentMatrix x = c.matrix("x", rows, cols, dtype), y = c.outputMatrix("out", rows, cols, dtype);
  const auto table = c.arrayOfRows<float>("table", 2 * dim);
  auto position =
      c.indices("position", rowsOf(rows), -1, static_cast<int64_t>(table.length() / rowsOf(2 * dim)) - 1);
  return [=, position = std::move(position)](const Backend& b, Context& context, Arrays& at) {
    b.rope(context, {.x = at(x),
                     .y = at(y),
                     .table = at(table),
                     .position = at(position),
                     .rows = rows,
                     .heads = heads,
                     .dim = dim});
  };
}

}  // namespace clip::ops::rope
