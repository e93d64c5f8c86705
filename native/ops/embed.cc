#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

namespace clip::ops::embed {

// A table of 50 rows, 33 positions. padding: the last row's id is negative.
std::vector<Case> cases() {
  const Shapes embed{{"rows", "cols"}};
  return {
      embed("icon-clip", kTested, {32, 192}),
      embed("ViT-B/32 text", kTested, {10, 512}),
      embed("one element", kTested, {1, 1}),
      embed("odd sizes", kTested, {7, 37}),
      embed("one short of the vectors", kTested, {3, 31}),
      embed("a row of padding", kEmulated | kFirstLoad, {7, 70}, {{"padding", 1}}),
      embed("64 images of ViT-B/32", kTimed, {3200, 768}),
  };
}

std::span<const Dtype> dtypes() { return kStored; }

Made made(Machine& m, const Case& c, Dtype dtype) {
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
  return {running(m, call), difference, size(rows, cols) + inDtype(dtype), 1. * rows * cols,
          (8. + double(bytesOf(dtype))) * rows * cols};
}

Job prepare(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const auto table = c.arrayOfRows<float>("table", cols), positions = c.arrayOfRows<float>("positions", cols);
  auto ids = c.indices("ids", rows, 0, static_cast<int64_t>(table.length() / cols) - 1);
  auto position = c.indices("position", rows, 0, static_cast<int64_t>(positions.length() / cols) - 1);
  const auto out = c.output<float>("out", {rowsOf(rows), rowsOf(cols)});
  return [=, ids = std::move(ids), position = std::move(position)](const Backend& b, Context& context,
                                                                   Arrays& at) {
    b.embed(context, {.table = at(table),
                      .tableStride = cols * sizeof(float),
                      .tableDtype = Dtype::float32,
                      .ids = at(ids),
                      .positions = at(positions),
                      .position = at(position),
                      .y = at.dense(out, cols),
                      .rows = rows,
                      .cols = cols});
  };
}

}  // namespace clip::ops::embed
