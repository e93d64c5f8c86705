#include "resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace clip {
namespace {

// Keys' cubic convolution with a = -1/2, in the operation order of Pillow's bicubic_filter.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double triangle(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

int columnsOf(const Resize& r) { return r.columns ? r.columns : r.width; }

// Where pixel (x, y) of the picture lies in src, in pixels.
size_t pixelAt(const Resize& r, int x, int y) {
  return size_t(y - r.firstRow) * columnsOf(r) + (x - r.firstColumn);
}

void nearest(const Resize& r) {
  const std::vector<int> xs = nearestIndex(r.width, r.outWidth, r.cropX, r.cropX + r.cropWidth);
  const std::vector<int> ys = nearestIndex(r.height, r.outHeight, r.cropY, r.cropY + r.cropHeight);
  uint8_t* dst = r.dst;
  for (int y : ys)
    for (int x : xs)
      for (int c = 0; c < r.channels; c++)
        *dst++ = x < 0 || y < 0 ? 0 : r.src[pixelAt(r, x, y) * r.channels + c];
}

}  // namespace

// Pillow's precompute_coeffs. The filter is stretched by the scale when shrinking, which is what makes the
// result antialiased.
Coefficients::Taps tapWeights(int in, int out, int i, Filter filter, std::vector<double>& w) {
  double (*const weight)(double) = filter == Filter::bilinear ? triangle : bicubic;
  const double scale = double(in) / out, stretch = scale < 1.0 ? 1.0 : scale;
  const double support = (filter == Filter::bilinear ? 1.0 : 2.0) * stretch, inverse = 1.0 / stretch;
  const double centre = (i + 0.5) * scale;
  const int first = std::max(0, int(centre - support + 0.5)),
            last = std::min(in, int(centre + support + 0.5));
  if (w.size() < size_t(last - first)) w.resize(size_t(last - first));
  double sum = 0;
  for (int x = first; x < last; x++) sum += w[x - first] = weight((x - centre + 0.5) * inverse);
  if (sum != 0.0)
    for (int x = 0; x < last - first; x++) w[x] /= sum;
  return {first, last - first};
}

// Pillow's normalize_coeffs_8bpc.
Coefficients coefficients(int in, int out, int begin, int end, Filter filter) {
  const double support = (filter == Filter::bilinear ? 1.0 : 2.0) * std::max(1.0, double(in) / out);
  Coefficients c;
  c.stride = (int(std::ceil(support)) * 2 + 1 + 7) / 8 * 8;
  c.at.resize(size_t(end - begin));
  c.k.assign(size_t(end - begin) * c.stride, 0);
  std::vector<double> w(c.stride);
  for (int i = begin; i < end; i++) {
    const Coefficients::Taps t = c.at[i - begin] = tapWeights(in, out, i, filter, w);
    int32_t* k = &c.k[size_t(i - begin) * c.stride];
    for (int x = 0; x < t.count; x++) k[x] = int32_t((w[x] < 0 ? -0.5 : 0.5) + w[x] * (1 << kResampleBits));
  }
  return c;
}

std::vector<int> nearestIndex(int in, int out, int begin, int end) {
  const double step = double(in) / out;
  std::vector<int> index(size_t(end - begin), -1);
  double at = step * 0.5;
  for (int i = 0; i < end; i++, at += step)
    if (i >= begin && int(at) < in) index[i - begin] = int(at);
  return index;
}

void resizeWith(const Resize& r, void (*horizontal)(const ResizePass&), void (*vertical)(const ResizePass&)) {
  const int x0 = r.cropX, x1 = x0 + r.cropWidth, y0 = r.cropY, y1 = y0 + r.cropHeight;
  if (x0 >= x1 || y0 >= y1) return;
  if (r.filter == Filter::nearest) return nearest(r);
  const bool wide = r.width != r.outWidth, high = r.height != r.outHeight;  // no pass where no size changes
  Coefficients h, v;
  if (wide) h = coefficients(r.width, r.outWidth, x0, x1, r.filter);
  if (high) v = coefficients(r.height, r.outHeight, y0, y1, r.filter);
  // The columns and rows of the source that reach the window.
  const int left = wide ? h.at.front().first : x0, right = wide ? h.at.back().first + h.at.back().count : x1;
  const int top = high ? v.at.front().first : y0, bottom = high ? v.at.back().first + v.at.back().count : y1;
  const size_t bytes = size_t(columnsOf(r)) * (bottom - r.firstRow) * r.channels;
  ResizePass p{r.src,
               r.src + bytes,
               r.firstColumn,
               r.firstRow,
               columnsOf(r),
               r.channels,
               nullptr,
               nullptr,
               0,
               x0,
               x1,
               y0,
               y1,
               r.dst};
  const auto use = [&p](const Coefficients& c) { p.at = c.at.data(), p.k = c.k.data(), p.stride = c.stride; };
  if (wide && high) {
    // What the first pass leaves: all columns that the second needs of the window's rows, or the other way
    // round.
    if (r.verticalFirst)
      p.x0 = left, p.x1 = right;
    else
      p.y0 = top, p.y1 = bottom;
    std::vector<uint8_t> middle(size_t(p.x1 - p.x0) * (p.y1 - p.y0) * r.channels);
    p.dst = middle.data();
    use(r.verticalFirst ? v : h);
    (r.verticalFirst ? vertical : horizontal)(p);
    p.src = middle.data(), p.srcEnd = p.src + middle.size();
    p.left = p.x0, p.top = p.y0, p.width = p.x1 - p.x0;
    p.x0 = x0, p.x1 = x1, p.y0 = y0, p.y1 = y1, p.dst = r.dst;
    use(r.verticalFirst ? h : v);
    (r.verticalFirst ? horizontal : vertical)(p);
  } else if (wide || high) {
    use(wide ? h : v);
    (wide ? horizontal : vertical)(p);
  } else {
    const size_t row = size_t(r.cropWidth) * r.channels;
    for (int y = y0; y < y1; y++)
      std::memcpy(r.dst + (y - y0) * row, r.src + pixelAt(r, x0, y) * r.channels, row);
  }
}

}  // namespace clip
