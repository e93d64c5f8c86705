#include "rows.h"

#include "epilogue.cuh"
#include "row_work.cuh"

namespace clip::cuda {

CLIP_KERNEL(128, clip_channel_gate, const ChannelGate g) {
  const int row = warpRow();
  if (row >= g.rows) return;
  const float *x = floats(g.x, row), *gate = floats(g.gate, row / g.rowsPerGate);
  for (int c = laneOf(); c < g.cols; c += 32)
    storeNumber(rowOf(g.y, row), g.y.dtype, c, activate(g.activation, x[c] * gate[c]));
}

}  // namespace clip::cuda
