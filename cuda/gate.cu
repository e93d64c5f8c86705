#include "rows.h"

#include "row_work.cuh"

namespace clip::cuda {

// One warp per row.
CLIP_KERNEL(128, clip_gate, const Gate g) {
  const int row = warpRow();
  if (row >= g.rows) return;
  const char *a = rowOf(g.a, row), *b = rowOf(g.b, row);
  char* y = rowOf(g.y, row);
  for (int i = laneOf(); i < g.cols; i += 32) {
    const float v = loadNumber(a, g.a.dtype, i);
    const float f = g.activation == Gating::silu ? v / (1.f + exp2Approx(-kLog2E * v))
                                                 : 0.5f * v * erfcf(v * -0.70710678118654752f);
    storeNumber(y, g.y.dtype, i, f * loadNumber(b, g.b.dtype, i));
  }
}

}  // namespace clip::cuda
