// Convolutions and pools of the ResNets, over pictures of rows (NHWC).
//
// A convolution is a matrix product whose rows are never stored as a whole: the inputs of a block of output
// pixels are gathered into scratch memory of about the second-level cache, then linear.inl's tiles run over
// it. Gathering reads kernel^2 rows per pixel and is paid once per block and share of the panels. Each sum
// runs over (y, x, channel) in order, as a linear row of that length.

constexpr size_t kGatherBytes = size_t{1} << 20;

// Row r of the matrix: the kernel x kernel x in inputs of output pixel r, zero where they lie outside the
// picture.
inline void gatherWindow(const Conv& c, int r, float* to) {
  const int outWidth = c.outWidth(), perImage = c.outHeight() * outWidth;
  const int image = r / perImage, top = r % perImage / outWidth * c.stride - c.pad;
  const int left = r % outWidth * c.stride - c.pad;
  const size_t bytes = size_t(c.in) * sizeof(float);
  for (int y = top; y < top + c.kernel; y++)
    for (int x = left; x < left + c.kernel; x++, to += c.in) {
      if (y < 0 || y >= c.height || x < 0 || x >= c.width)
        __builtin_memset(to, 0, bytes);
      else
        __builtin_memcpy(to, rowOf(c.x, (image * c.height + y) * c.width + x), bytes);
    }
}

void conv(Context& context, const Conv& c) {
  const int rows = c.images * c.outHeight() * c.outWidth(), in = c.kernel * c.kernel * c.in;
  if (rows <= 0 || c.out <= 0) return;
  const size_t stride = lineStride(size_t(in) * sizeof(float));
  const int fitting = int(kGatherBytes / stride);
  const int blockRows = fitting > kRowBlock ? kRowBlock : fitting < 2 * kTileRows ? 2 * kTileRows : fitting;
  const int blocks = (rows + blockRows - 1) / blockRows, panels = (c.out + kCols - 1) / kCols;
  const int wanted = context.threads == 1 ? 1 : 4 * context.threads;
  const int panelChunks = blocks >= wanted ? 1 : least(panels, (wanted + blocks - 1) / blocks);
  share(context, blocks * panelChunks, double(rows) * in * c.out, [&](int chunk, int worker) {
    const int b = chunk / panelChunks, p = chunk % panelChunks;
    const int r0 = int(int64_t(rows) * b / blocks), r1 = int(int64_t(rows) * (b + 1) / blocks);
    float* gathered = static_cast<float*>(context.memory(worker, stride * blockRows));
    const Activations x{.data = gathered, .stride = stride};
    for (int r = r0; r < r1; r++) gatherWindow(c, r, outRow(x, r - r0));
    const Linear l{.x = x,
                   .w = c.w,
                   .bias = c.bias,
                   .residual = {},
                   .y = {.data = outRow(c.y, r0), .stride = c.y.stride},
                   .rows = r1 - r0,
                   .in = in,
                   .out = c.out,
                   .nonlinearity = Nonlinearity::relu};
    linearBlock<Float32>(l, 0, r1 - r0, int(int64_t(panels) * p / panelChunks),
                         int(int64_t(panels) * (p + 1) / panelChunks), false);
  });
}

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
                store(outRow(p.y, r) + c, sum / count, n);
              }
            });
}
