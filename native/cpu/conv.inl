// Convolutions, on images stored as rows of pixels (NHWC).
//
// A convolution is a matrix product whose left matrix is never stored as a whole. Each sum runs over (y, x,
// channel) in this order, whatever the block.
//
// By lines: the pixels of a few lines of the image are copied next to each other, with zeros around them. The
// kernel x in inputs in one line of a window are then contiguous, and the inputs of neighbouring output
// pixels start one pixel apart. So linear.inl's tiles run over a stretch of output pixels, once per line of
// the window. Every pixel is copied once per block.
//
// By windows: used if a line of a window is not a whole number of steps, or for int8, which needs the scale
// of whole windows. The kernel^2 x in inputs of a block of output pixels are gathered into a buffer of about
// the size of the second-level cache.
//
//   ladder, RN50, by windows -> by lines, runs by turns on a shared Zen 5, median time ratio (middle half)
//   float32 1 thread 1.035 (0.97 to 1.10), 2 threads 1.07 (1.00 to 1.11); bfloat16 1.02 (0.97 to 1.10)   kept

constexpr size_t kGatherBytes = size_t{1} << 20;

// Gathers row r of the matrix: the kernel x kernel x in inputs of output pixel r, zero where they lie outside
// the image. Elements have two or four bytes.
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

// Output pixels [x0, x1) of the output lines [y0, y1) of one image; at most kRowBlock pixels.
struct ConvBlock {
  int image, y0, y1, x0, x1;
};

// Copies the input pixels that a block reads, `wide` pixels per line. A pixel's size is a multiple of 4
// bytes.
inline void copyLines(const Conv& c, const ConvBlock& b, int wide, char* to) {
  const int words = int(size_t(c.in) * bytesOf(c.x.dtype) / 4);
  const int top = b.y0 * c.stride - c.pad, bottom = (b.y1 - 1) * c.stride - c.pad + c.kernel;
  const int left = b.x0 * c.stride - c.pad;
  for (int y = top; y < bottom; y++)
    for (int x = left; x < left + wide; x++, to += size_t(words) * 4) {
      const bool outside = y < 0 || y >= c.height || x < 0 || x >= c.width;
      const float* from = outside ? nullptr : rowOf(c.x, (b.image * c.height + y) * c.width + x);
      for (int i = 0; i < words; i += kLanes) {
        const int n = least(kLanes, words - i);
        store(reinterpret_cast<float*>(to) + i, outside ? zero() : load(from + i, n), n);
      }
    }
}

// Computes panels [p0, p1) of a block whose input lines are at `lines`.
template <class T>
void convBlock(const Conv& c, const ConvBlock& b, const char* lines, int wide, int p0, int p1) {
  const size_t pixel = size_t(c.in) * bytesOf(T::dtype), line = pixel * wide, step = pixel * c.stride;
  const int lineSteps = c.kernel * c.in / T::group, parts = (lineSteps + kStepBlock - 1) / kStepBlock;
  const int across = (b.x1 - b.x0 + T::rows - 1) / T::rows, tiles = across * (b.y1 - b.y0);
  const Linear l{.x = {},
                 .w = c.w,
                 .bias = c.bias,
                 .residual = {},
                 .y = c.y,
                 .rows = 0,
                 .in = c.kernel * c.kernel * c.in,
                 .out = c.out,
                 .activation = c.activation,
                 .weights = T::dtype};
  constexpr int kAll = kStepBytes * 2 / 64;  // cache lines of weights per two steps
  const int ahead = tiles <= 2 ? kAll : 1;
  alignas(64) typename T::Sum sums[(kRowBlock + T::rows) * 2];
  const char* w = static_cast<const char*>(c.w) + size_t(p0) * lineSteps * c.kernel * kStepBytes;
  for (int p = p0; p < p1; p++)
    for (int ky = 0; ky < c.kernel; ky++)
      for (int part = 0, s0 = 0; part < parts; part++) {
        const int s1 = int(int64_t(lineSteps) * (part + 1) / parts), n = s1 - s0;
        const bool first = ky == 0 && part == 0, last = ky + 1 == c.kernel && part + 1 == parts;
        int t = 0;
        auto* sum = sums;
        for (int y = b.y0; y < b.y1; y++)
          for (int x = b.x0, a = 0; a < across; a++, t++) {
            const int height = (b.x1 - x) / (across - a), prefetched = t < kAll ? ahead : 0;
            tileFor<T, kAll>(height, prefetched)(
                lines + size_t((y - b.y0) * c.stride + ky) * line + size_t(x - b.x0) * step + size_t(s0) * 4,
                step, w, n, w + size_t(n) * kStepBytes + size_t(t) * (n / 2) * prefetched * 64, first, sum);
            if (last)
              finishTile<T>(sum, height, l, (b.image * c.outHeight() + y) * c.outWidth() + x, p * kCols);
            x += height;
            sum += height * 2;
          }
        w += size_t(n) * kStepBytes;
        s0 = s1;
      }
  if constexpr (ownTile<T>) T::rest();
}

template <class T>
void convByLines(Context& context, const Conv& c) {
  const int outHeight = c.outHeight(), outWidth = c.outWidth(), panels = (c.out + kCols - 1) / kCols;
  const int stretches = (outWidth + kRowBlock - 1) / kRowBlock;
  const int bands =
      outWidth >= kRowBlock ? outHeight : (outHeight + kRowBlock / outWidth - 1) / (kRowBlock / outWidth);
  const int blocks = c.images * bands * stretches;
  const int wanted = context.threads == 1 ? 1 : 4 * context.threads;
  const int panelChunks = blocks >= wanted ? 1 : least(panels, (wanted + blocks - 1) / blocks);
  const double work = double(c.images) * outHeight * outWidth * c.kernel * c.kernel * c.in * c.out;
  share(context, blocks * panelChunks, work, [&](int chunk, int worker) {
    const int p = chunk % panelChunks, n = chunk / panelChunks;
    const int stretch = n % stretches, band = n / stretches % bands;
    const ConvBlock b{.image = n / stretches / bands,
                      .y0 = int(int64_t(outHeight) * band / bands),
                      .y1 = int(int64_t(outHeight) * (band + 1) / bands),
                      .x0 = int(int64_t(outWidth) * stretch / stretches),
                      .x1 = int(int64_t(outWidth) * (stretch + 1) / stretches)};
    const int wide = (b.x1 - b.x0 - 1) * c.stride + c.kernel, high = (b.y1 - b.y0 - 1) * c.stride + c.kernel;
    char* const lines =
        static_cast<char*>(context.memory(worker, size_t(high) * wide * c.in * bytesOf(T::dtype)));
    copyLines(c, b, wide, lines);
    convBlock<T>(c, b, lines, wide, int(int64_t(panels) * p / panelChunks),
                 int(int64_t(panels) * (p + 1) / panelChunks));
  });
}

template <class T>
void convByWindows(Context& context, const Conv& c) {
  const int rows = c.images * c.outHeight() * c.outWidth(), in = c.kernel * c.kernel * c.in;
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
        quantised ? lineStride(size_t(in) * sizeof(float)) : 0;  // one window of float32 at a time
    char* const gathered = static_cast<char*>(context.memory(worker, window + stride * blockRows));
    float scale[kRowBlock];
    int32_t zeroPoint[kRowBlock];
    const MatrixView x{.data = gathered + window,
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
                   .activation = c.activation,
                   .weights = T::dtype};
    linearBlock<T>(l, 0, r1 - r0, int(int64_t(panels) * p / panelChunks),
                   int(int64_t(panels) * (p + 1) / panelChunks));
  });
}

template <class T>
void convOf(Context& context, const Conv& c) {
  if (c.images <= 0 || c.outHeight() <= 0 || c.outWidth() <= 0 || c.out <= 0) return;
  if constexpr (T::dtype != Dtype::int8)
    if (c.in % T::group == 0) return convByLines<T>(context, c);
  convByWindows<T>(context, c);
}
