// Depthwise convolutions, on images stored as rows of pixels (NHWC).
//
// A block is a band of output lines of one image, in 16 channels, which are one cache line of a pixel. The input
// pixels of a block are copied next to each other, with zeros around them, so that the loop over taps knows no
// border and reads only the first- and second-level caches. It keeps the sums of up to 8 neighbouring output
// pixels and one line of taps in registers and loads each input pixel once per line of taps. Each sum begins with
// the bias and runs over (y, x) in this order, whatever the block.

constexpr int kDepthwiseChannels = 16, kDepthwiseColumns = 8;
constexpr size_t kDepthwiseBytes = size_t{1}
                                   << 18;  // input pixels of a block at most, unless it has one line

// The sums of `Columns` neighbouring output pixels in one vector of channels. `x` is their first input pixel.
template <int Kernel, int Stride, int Columns>
__attribute__((noinline)) void depthwiseTile(const float* x, size_t line, const float* w, F bias, F* y) {
  F sum[Columns];
  each<Columns>([&](auto t) CLIP_INLINE { sum[t] = bias; });
  for (int ky = 0; ky < Kernel; ky++, x += line, w += Kernel * kDepthwiseChannels) {
    F tap[Kernel];
    each<Kernel>([&](auto kx) CLIP_INLINE { tap[kx] = load(w + kx * kDepthwiseChannels); });
    each<(Columns - 1) * Stride + Kernel>([&](auto i) CLIP_INLINE {
      constexpr int kPixel = decltype(i){};
      const F v = load(x + kPixel * kDepthwiseChannels);
      each<Columns>([&](auto t) CLIP_INLINE {
        constexpr int kColumn = decltype(t){}, kTap = kPixel - kColumn * Stride;
        if constexpr (kTap >= 0 && kTap < Kernel) sum[kColumn] = fma(v, tap[kTap], sum[kColumn]);
      });
    });
  }
  each<Columns>([&](auto t) CLIP_INLINE { y[t] = sum[t]; });
}

template <int Kernel, int Stride>
inline void depthwiseColumns(int columns, const float* x, size_t line, const float* w, F bias, F* y) {
  switch (columns) {
    case 1:
      return depthwiseTile<Kernel, Stride, 1>(x, line, w, bias, y);
    case 2:
      return depthwiseTile<Kernel, Stride, 2>(x, line, w, bias, y);
    case 3:
      return depthwiseTile<Kernel, Stride, 3>(x, line, w, bias, y);
    case 4:
      return depthwiseTile<Kernel, Stride, 4>(x, line, w, bias, y);
    case 5:
      return depthwiseTile<Kernel, Stride, 5>(x, line, w, bias, y);
    case 6:
      return depthwiseTile<Kernel, Stride, 6>(x, line, w, bias, y);
    case 7:
      return depthwiseTile<Kernel, Stride, 7>(x, line, w, bias, y);
    default:
      return depthwiseTile<Kernel, Stride, 8>(x, line, w, bias, y);
  }
}

// Output lines [y0, y1) of one image, in the channels from `channel` on that exist.
struct DepthwiseBlock {
  int image, y0, y1, channel;
};

// `n` channels of a pixel from `channel` on, as output channels.
inline CLIP_INLINE F pixelChannels(const DepthwiseConv& d, const float* pixel, int channel, int n) {
  if (n <= 0) return zero();
  return d.multiplier == 1 ? load(pixel + channel, n) : doubledLanes(load(pixel + channel / 2, n / 2));
}

inline void copyDepthwiseLines(const DepthwiseConv& d, const DepthwiseBlock& b, int wide, float* to) {
  const int top = b.y0 * d.stride - d.pad, bottom = (b.y1 - 1) * d.stride - d.pad + d.kernel;
  const int channels = least(kDepthwiseChannels, d.out() - b.channel);
  for (int y = top; y < bottom; y++)
    for (int x = -d.pad; x < wide - d.pad; x++, to += kDepthwiseChannels) {
      const bool outside = y < 0 || y >= d.height || x < 0 || x >= d.width;
      const float* pixel = outside ? nullptr : rowOf(d.x, (b.image * d.height + y) * d.width + x);
      for (int c = 0; c < kDepthwiseChannels; c += kLanes)
        store(to + c, outside ? zero() : pixelChannels(d, pixel, b.channel + c, least(kLanes, channels - c)));
    }
}

template <int Kernel, int Stride>
void depthwiseBlock(const DepthwiseConv& d, const DepthwiseBlock& b, const float* lines, int wide,
                    const float* w) {
  const int outWidth = d.outWidth(), across = (outWidth + kDepthwiseColumns - 1) / kDepthwiseColumns;
  const size_t line = size_t(wide) * kDepthwiseChannels;
  const bool isGelu = d.activation == Activation::gelu;
  const int channels = least(kDepthwiseChannels, d.out() - b.channel);
  for (int y = b.y0; y < b.y1; y++)
    for (int x = 0, a = 0; a < across; a++) {
      const int columns = (outWidth - x) / (across - a);
      const float* const from =
          lines + size_t(y - b.y0) * Stride * line + size_t(x) * Stride * kDepthwiseChannels;
      for (int c = 0; c < channels; c += kLanes) {
        const int n = least(kLanes, channels - c), o = b.channel + c;
        F sums[kDepthwiseColumns];
        depthwiseColumns<Kernel, Stride>(columns, from + c, line, w + c, load(d.bias + o, n), sums);
        for (int t = 0; t < columns; t++)
          storeNumbers(d.y, (b.image * d.outHeight() + y) * outWidth + x + t, size_t(o),
                       isGelu ? gelu(sums[t]) : sums[t], n);
      }
      x += columns;
    }
}

template <int Kernel, int Stride>
void depthwiseOf(Context& context, const DepthwiseConv& d) {
  const int outHeight = d.outHeight(), outWidth = d.outWidth(), out = d.out();
  const int wide = (outWidth - 1) * Stride + Kernel;
  const int parts = (out + kDepthwiseChannels - 1) / kDepthwiseChannels, units = d.images * parts;
  const size_t lineBytes = size_t(wide) * kDepthwiseChannels * sizeof(float);
  const int fitting = int(kDepthwiseBytes / lineBytes);
  const int high = fitting < Kernel + Stride ? 1 : (fitting - Kernel) / Stride + 1;
  const int wanted = context.threads == 1 ? 1 : 4 * context.threads;
  const int forCache = (outHeight + high - 1) / high, forThreads = (wanted + units - 1) / units;
  const int bands = least(outHeight, forCache > forThreads ? forCache : forThreads);
  constexpr size_t kTaps = Kernel * Kernel * kDepthwiseChannels;
  const double work = double(units) * outHeight * outWidth * Kernel * Kernel * kDepthwiseChannels;
  share(context, units * bands, work, [&](int chunk, int worker) {
    const int band = chunk / parts % bands;
    const DepthwiseBlock b{.image = chunk / parts / bands,
                           .y0 = int(int64_t(outHeight) * band / bands),
                           .y1 = int(int64_t(outHeight) * (band + 1) / bands),
                           .channel = chunk % parts * kDepthwiseChannels};
    const size_t copied = size_t((b.y1 - b.y0 - 1) * Stride + Kernel) * lineBytes;
    auto* const w = static_cast<float*>(context.memory(worker, kTaps * sizeof(float) + copied));
    for (int tap = 0; tap < Kernel * Kernel; tap++)
      for (int c = 0; c < kDepthwiseChannels; c += kLanes) {
        const int n = least(kLanes, out - b.channel - c);
        store(w + tap * kDepthwiseChannels + c,
              n > 0 ? load(d.w + size_t(tap) * out + b.channel + c, n) : zero());
      }
    copyDepthwiseLines(d, b, wide, w + kTaps);
    depthwiseBlock<Kernel, Stride>(d, b, w + kTaps, wide, w);
  });
}

void depthwiseConv(Context& context, const DepthwiseConv& d) {
  if (d.images <= 0 || d.outHeight() <= 0 || d.outWidth() <= 0 || d.out() <= 0) return;
  if (d.kernel == 3)
    (d.stride == 1 ? depthwiseOf<3, 1> : depthwiseOf<3, 2>)(context, d);
  else
    (d.stride == 1 ? depthwiseOf<7, 1> : depthwiseOf<7, 2>)(context, d);
}
