#include "rows.h"

#include "epilogue.cuh"
#include "row_work.cuh"

namespace clip::cuda {

// One warp per output pixel; its lanes go along the channels.
CLIP_KERNEL(128, clip_depthwise_conv, const DepthwiseConv d) {
  const int outHeight = (d.height + 2 * d.pad - d.kernel) / d.stride + 1;
  const int outWidth = (d.width + 2 * d.pad - d.kernel) / d.stride + 1;
  const int row = warpRow(), channels = d.in * d.multiplier;
  if (row >= d.images * outHeight * outWidth) return;
  const int image = row / (outHeight * outWidth), top = row / outWidth % outHeight * d.stride - d.pad;
  const int left = row % outWidth * d.stride - d.pad;
  for (int o = laneOf(); o < channels; o += 32) {
    const int from = d.multiplier == 1 ? o : o / 2;
    const float* w = d.w + o;
    float sum = d.bias[o];
    for (int y = top; y < top + d.kernel; y++)
      for (int x = left; x < left + d.kernel; x++, w += channels) {
        const bool inside = y >= 0 && y < d.height && x >= 0 && x < d.width;
        sum = fmaf(inside ? floats(d.x, (image * d.height + y) * d.width + x)[from] : 0.f, *w, sum);
      }
    storeNumber(rowOf(d.y, row), d.y.dtype, o, activate(d.activation, sum));
  }
}

}  // namespace clip::cuda
