#include "rows.h"

#include "row_work.cuh"

namespace clip::cuda {

// One warp per output pixel; its lanes go along the channels.
CLIP_KERNEL(128, clip_pool, const Pooling p) {
  const int outHeight = p.height / p.kernelHeight, outWidth = p.width / p.kernelWidth, row = warpRow();
  if (row >= p.images * outHeight * outWidth) return;
  const int image = row / (outHeight * outWidth), y0 = row / outWidth % outHeight * p.kernelHeight;
  const int x0 = row % outWidth * p.kernelWidth;
  const float area = static_cast<float>(p.kernelHeight * p.kernelWidth);
  for (int c = laneOf(); c < p.channels; c += 32) {
    float sum = 0.f;
    for (int y = y0; y < y0 + p.kernelHeight; y++)
      for (int x = x0; x < x0 + p.kernelWidth; x++)
        sum += floats(p.x, (image * p.height + y) * p.width + x)[c];
    storeNumber(rowOf(p.y, row), p.y.dtype, c, sum / area);
  }
}

}  // namespace clip::cuda
