#include "rows.h"

#include "row_work.cuh"

namespace clip::cuda {

// One warp per row; a lane rotates whole pairs, so y may be x.
CLIP_KERNEL(128, clip_rope, const Rope p) {
  const int row = warpRow();
  if (row >= p.rows) return;
  const int position = p.position[row], pairs = p.heads * p.dim / 2;
  const char* x = rowOf(p.x, row);
  char* y = rowOf(p.y, row);
  const float* cosine = p.table + size_t(position < 0 ? 0 : position) * 2 * p.dim;
  for (int j = laneOf(); j < pairs; j += 32) {
    const int i = 2 * j % p.dim;
    const float a = loadNumber(x, p.x.dtype, 2 * j), b = loadNumber(x, p.x.dtype, 2 * j + 1);
    const float* c = cosine + i;
    storeNumber(y, p.y.dtype, 2 * j, position < 0 ? a : fmaf(a, c[0], b * c[p.dim]));
    storeNumber(y, p.y.dtype, 2 * j + 1, position < 0 ? b : fmaf(b, c[1], a * c[p.dim + 1]));
  }
}

}  // namespace clip::cuda
