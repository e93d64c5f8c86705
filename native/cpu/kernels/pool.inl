// Average pooling of the ResNets, on images stored as rows of pixels (NHWC).

void pool(Context& context, const Pooling& p) {
  const int outHeight = p.height / p.kernelHeight, outWidth = p.width / p.kernelWidth;
  const F count = all(float(p.kernelHeight * p.kernelWidth));
  shareRows(context, p.images * outHeight * outWidth, double(p.kernelHeight * p.kernelWidth) * p.channels,
            [&](int r) {
              const int image = r / (outHeight * outWidth), oy = r / outWidth % outHeight, ox = r % outWidth;
              const int first = (image * p.height + oy * p.kernelHeight) * p.width + ox * p.kernelWidth;
              for (int c = 0; c < p.channels; c += kLanes) {
                const int n = least(kLanes, p.channels - c);
                F sum = zero();
                for (int y = 0; y < p.kernelHeight; y++)
                  for (int x = 0; x < p.kernelWidth; x++)
                    sum = sum + load(rowOf(p.x, first + y * p.width + x) + c, n);
                storeNumbers(p.y, r, size_t(c), sum / count, n);
              }
            });
}
