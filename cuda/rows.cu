// cast, embed and gather, which copy or convert rows.
#include "rows.h"

#include "row_work.cuh"

namespace clip::cuda {

CLIP_KERNEL(128, clip_cast, const Cast c) {
  const int row = warpRow();
  if (row >= c.rows) return;
  const float* x = floats(c.x, row);
  for (int i = laneOf(); i < c.cols; i += 32) storeNumber(rowOf(c.y, row), c.y.dtype, i, x[i]);
}

CLIP_KERNEL(128, clip_embed, const Embed e) {
  const int row = warpRow();
  if (row >= e.rows) return;
  const int id = e.ids[row];
  if (id < 0) return;
  const char* from = static_cast<const char*>(e.table) + size_t(id) * e.tableStride;
  const float* position = e.positions + size_t(e.position[row]) * e.cols;
  for (int i = laneOf(); i < e.cols; i += 32)
    storeNumber(rowOf(e.y, row), Dtype::float32, i, loadNumber(from, e.tableDtype, i) + position[i]);
}

CLIP_KERNEL(128, clip_gather, const Gather g) {
  const int row = warpRow();
  if (row >= g.count) return;
  const int from = g.row[row];
  if (from < 0) return;
  const float* x = floats(g.x, from);
  for (int i = laneOf(); i < g.cols; i += 32) storeNumber(rowOf(g.y, row), Dtype::float32, i, x[i]);
}

}  // namespace clip::cuda
