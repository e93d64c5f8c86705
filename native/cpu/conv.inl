// Convolutions of the ResNets, over pictures of rows (NHWC).
//
// A convolution is a matrix product whose rows are never stored as a whole: the inputs of a block of output
// pixels are gathered into scratch memory of about the second-level cache, then linear.inl's tiles run over
// it. Gathering reads kernel^2 rows per pixel and is paid once per block and share of the panels. Each sum
// runs over (y, x, channel) in order, as a linear row of that length.

constexpr size_t kGatherBytes = size_t{1} << 20;

// Row r of the matrix: the kernel x kernel x in inputs of output pixel r, zero where they lie outside the
// picture. Two or four bytes each.
inline void gatherWindow(const Conv& c, int r, char* to) {
  const int outWidth = c.outWidth(), perImage = c.outHeight() * outWidth;
  const int image = r / perImage, top = r % perImage / outWidth * c.stride - c.pad;
  const int left = r % outWidth * c.stride - c.pad;
  const size_t bytes = size_t(c.in) * bytesOf(c.x.dtype);
  for (int y = top; y < top + c.kernel; y++)
    for (int x = left; x < left + c.kernel; x++, to += bytes) {
      if (y < 0 || y >= c.height || x < 0 || x >= c.width)
        __builtin_memset(to, 0, bytes);
      else
        __builtin_memcpy(to, rowOf<char>(c.x, (image * c.height + y) * c.width + x), bytes);
    }
}

template <class T>
void convOf(Context& context, const Conv& c) {
  const int rows = c.images * c.outHeight() * c.outWidth(), in = c.kernel * c.kernel * c.in;
  if (rows <= 0 || c.out <= 0) return;
  constexpr bool quantised = T::dtype == Dtype::int8;
  const size_t stride = lineStride(size_t(in) * bytesOf(T::dtype));
  const int fitting = int(kGatherBytes / stride);
  const int blockRows = fitting > kRowBlock ? kRowBlock : fitting < 2 * T::rows ? 2 * T::rows : fitting;
  const int blocks = (rows + blockRows - 1) / blockRows, panels = (c.out + kCols - 1) / kCols;
  const int wanted = context.threads == 1 ? 1 : 4 * context.threads;
  const int panelChunks = blocks >= wanted ? 1 : least(panels, (wanted + blocks - 1) / blocks);
  share(context, blocks * panelChunks, double(rows) * in * c.out, [&](int chunk, int worker) {
    const int b = chunk / panelChunks, p = chunk % panelChunks;
    const int r0 = int(int64_t(rows) * b / blocks), r1 = int(int64_t(rows) * (b + 1) / blocks);
    const size_t window =
        quantised ? lineStride(size_t(in) * sizeof(float)) : 0;  // of float32, one at a time
    char* const gathered = static_cast<char*>(context.memory(worker, window + stride * blockRows));
    float scale[kRowBlock];
    int32_t zeroPoint[kRowBlock];
    const Activations x{.data = gathered + window,
                        .stride = stride,
                        .dtype = T::dtype,
                        .rowScale = scale,
                        .rowZero = zeroPoint};
    for (int r = r0; r < r1; r++) {
      gatherWindow(c, r, quantised ? gathered : outRow<char>(x, r - r0));
      if constexpr (quantised) {
        uint8_t* const row = outRow<uint8_t>(x, r - r0);
        quantiseRow(reinterpret_cast<const float*>(gathered), in, row, scale + (r - r0),
                    zeroPoint + (r - r0));
        T::prepareRow(row, in, zeroPoint + (r - r0));
      }
    }
    const Linear l{.x = x,
                   .w = c.w,
                   .bias = c.bias,
                   .residual = {},
                   .y = {.data = outRow(c.y, r0), .stride = c.y.stride, .dtype = c.y.dtype},
                   .rows = r1 - r0,
                   .in = in,
                   .out = c.out,
                   .nonlinearity = Nonlinearity::relu};
    linearBlock<T>(l, 0, r1 - r0, int(int64_t(panels) * p / panelChunks),
                   int(int64_t(panels) * (p + 1) / panelChunks));
  });
}
