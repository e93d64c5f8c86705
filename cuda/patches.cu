#include "rows.h"

#include "row_work.cuh"

namespace clip::cuda {

// One warp per patch; its lanes go along the columns (channel, y, x).
CLIP_KERNEL(128, clip_patches, const Patches p) {
  const int grid = p.size / p.patch, area = p.patch * p.patch, row = warpRow();
  if (row >= p.images * grid * grid) return;
  const int image = row / (grid * grid), top = row / grid % grid * p.patch, left = row % grid * p.patch;
  for (int i = laneOf(); i < 3 * area; i += 32) {
    const int channel = i / area, y = top + i % area / p.patch, x = left + i % p.patch;
    const size_t pixel = (size_t(image) * p.size + y) * p.size + x;
    const float v = p.pixels ? p.value[channel * 256 + p.pixels[pixel * 3 + channel]]
                             : p.planes[((size_t(image) * 3 + channel) * p.size + y) * p.size + x];
    storeNumber(rowOf(p.y, row), p.y.dtype, i, v);
  }
}

}  // namespace clip::cuda
