#include "ops/call.h"
#include "ops/cases.h"

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
