// The specification of the depthwise convolution.
#include "threads/context.h"
#include "reference/reference.h"

namespace clip::reference {

// y[o] = f(sum over (ky, kx) of x[oy * stride + ky - pad, ox * stride + kx - pad, o / multiplier] w[ky, kx, o] +
// b[o]): torch.nn.Conv2d with groups = in, Liu et al. 2022 (ConvNeXt), Vasu et al. 2023 (FastViT).
void depthwiseConv(Context& context, const DepthwiseConv& d) {
  const int outHeight = d.outHeight(), outWidth = d.outWidth(), channels = d.out();
  eachRow(context.threads, d.images * outHeight * outWidth, [&](int r) {
    endIfStopped();
    const int image = r / (outHeight * outWidth), oy = r / outWidth % outHeight, ox = r % outWidth;
    for (int o = 0; o < channels; o++) {
      double sum = d.bias[o];
      for (int ky = 0; ky < d.kernel; ky++)
        for (int kx = 0; kx < d.kernel; kx++) {
          const int y = oy * d.stride + ky - d.pad, x = ox * d.stride + kx - d.pad;
          const bool inside = y >= 0 && y < d.height && x >= 0 && x < d.width;
          const double v = inside ? in(d.x, (image * d.height + y) * d.width + x)[o / d.multiplier] : 0;
          sum += v * d.w[static_cast<size_t>(ky * d.kernel + kx) * channels + o];
        }
      put(d.y, r, o, activate(d.activation, sum));
    }
  });
}

}  // namespace clip::reference
