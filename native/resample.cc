#include "resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace clip {
namespace {

// Keys' cubic convolution with a = -1/2, with the operations in the order of Pillow's bicubic_filter.
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

// The offset in src of pixel (x, y) of the image, in pixels.
size_t pixelAt(const Resize& r, int x, int y) {
  return size_t(y - r.firstRow) * columnsOf(r) + (x - r.firstColumn);
}

// The centre of the filter for output position i, and how far it extends.
struct Stretch {
  double centre, support, inverse;
  Stretch(Side in, int out, int i, Filter filter) {
    const double scale = in.end / out, stretch = scale < 1.0 ? 1.0 : scale;
    centre = (i + 0.5) * scale;
    support = (filter == Filter::bilinear ? 1.0 : 2.0) * stretch;
    inverse = 1.0 / stretch;
  }
};

int32_t fixedPoint(double weight) {
  return int32_t((weight < 0 ? -0.5 : 0.5) + weight * (1 << kResampleBits));
}

// The number of coefficients per position that suffices for every position; a multiple of 8.
int strideOf(Side in, int out, Filter filter) {
  const double most = std::ceil(Stretch(in, out, 0, filter).support) * 2 + 1;
  return int((std::min(most, double(in.pixels)) + 7) / 8) * 8;
}

// One axis of a Resize, for the output positions [begin, end).
struct Axis {
  Side in;
  int out, begin, end;
  Filter filter;
  bool horizontal;
};

// 8 MB; the vector kernels expand them to up to four times as much.
constexpr size_t kMostCoefficients = size_t{1} << 21;

// A pass without a table of coefficients: the sums of whole rows or columns are accumulated tap by tap.
// Intermediate sums may wrap around, as in the kernels.
void passByTaps(const ResizePass& p, const Axis& axis) {
  const int n = p.channels, columns = p.x1 - p.x0, others = axis.horizontal ? p.y1 - p.y0 : columns;
  const size_t row = size_t(p.width) * n;
  std::vector<uint32_t> sums(size_t(others) * n);
  for (int i = axis.begin; i < axis.end; i++) {
    const int first = tapsOf(axis.in, axis.out, i, axis.filter).first;
    std::fill(sums.begin(), sums.end(), 1u << (kResampleBits - 1));
    eachTap(axis.in, axis.out, i, axis.filter, [&](int from, const double* w, int count) {
      const uint8_t* src = axis.horizontal
                               ? p.src + size_t(p.y0 - p.top) * row + size_t(first + from - p.left) * n
                               : p.src + size_t(first + from - p.top) * row + size_t(p.x0 - p.left) * n;
      for (int j = 0; j < count; j++, src += axis.horizontal ? n : row) {
        const auto k = uint32_t(fixedPoint(w[j]));
        for (int o = 0; o < others; o++)
          for (int c = 0; c < n; c++)
            sums[size_t(o) * n + c] += src[size_t(o) * (axis.horizontal ? row : n) + c] * k;
      }
    });
    for (int o = 0; o < others; o++)
      for (int c = 0; c < n; c++) {
        const size_t at =
            axis.horizontal ? size_t(o) * columns + (i - axis.begin) : size_t(i - axis.begin) * columns + o;
        p.dst[at * n + c] = clip8(int32_t(sums[size_t(o) * n + c]));
      }
  }
}

void pass(ResizePass p, const Axis& axis, void (*kernel)(const ResizePass&)) {
  const int stride = strideOf(axis.in, axis.out, axis.filter);
  if (size_t(axis.end - axis.begin) * stride > kMostCoefficients) return passByTaps(p, axis);
  const Coefficients c = coefficients(axis.in, axis.out, axis.begin, axis.end, axis.filter);
  p.at = c.at.data(), p.k = c.k.data(), p.stride = c.stride;
  kernel(p);
}

// The range of source positions that the output positions of an axis need.
Coefficients::Taps reach(const Axis& axis) {
  const int first = tapsOf(axis.in, axis.out, axis.begin, axis.filter).first;
  const Coefficients::Taps last = tapsOf(axis.in, axis.out, axis.end - 1, axis.filter);
  return {first, last.first + last.count - first};
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

// Pillow's precompute_coeffs. When shrinking, the filter is stretched by the scale, which makes the result
// antialiased.
Coefficients::Taps tapsOf(Side in, int out, int i, Filter filter) {
  const Stretch s(in, out, i, filter);
  const int first = int(std::max(0.0, s.centre - s.support + 0.5)),
            last = int(std::min(double(in.pixels), s.centre + s.support + 0.5));
  return {first, last - first};
}

void eachTap(Side in, int out, int i, Filter filter,
             const std::function<void(int, const double*, int)>& use) {
  double (*const weight)(double) = filter == Filter::bilinear ? triangle : bicubic;
  const Stretch s(in, out, i, filter);
  const Coefficients::Taps t = tapsOf(in, out, i, filter);
  std::vector<double> w(size_t(std::min(t.count, kTapsAtOnce)));
  const auto weightOf = [&](int j) { return weight((t.first + j - s.centre + 0.5) * s.inverse); };
  double sum = 0;
  for (int j = 0; j < t.count; j++) {
    const double v = weightOf(j);
    if (j < kTapsAtOnce) w[j] = v;
    sum += v;
  }
  for (int from = 0; from < t.count; from += kTapsAtOnce) {
    const int n = std::min(kTapsAtOnce, t.count - from);
    for (int j = 0; j < n; j++) {
      if (from > 0) w[j] = weightOf(from + j);
      if (sum != 0.0) w[j] /= sum;
    }
    use(from, w.data(), n);
  }
}

// Pillow's normalize_coeffs_8bpc.
Coefficients coefficients(Side in, int out, int begin, int end, Filter filter) {
  Coefficients c;
  c.stride = strideOf(in, out, filter);
  c.at.resize(size_t(end - begin));
  c.k.assign(size_t(end - begin) * c.stride, 0);
  for (int i = begin; i < end; i++) {
    c.at[i - begin] = tapsOf(in, out, i, filter);
    int32_t* k = &c.k[size_t(i - begin) * c.stride];
    eachTap(in, out, i, filter, [k](int from, const double* w, int n) {
      for (int j = 0; j < n; j++) k[from + j] = fixedPoint(w[j]);
    });
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
  // an axis whose size does not change needs no pass
  const Side width(r.width, r.endColumn), height(r.height, r.endRow);
  const bool wide = !width.stays(r.outWidth), high = !height.stays(r.outHeight);
  const Axis across{width, r.outWidth, x0, x1, r.filter, true},
      down{height, r.outHeight, y0, y1, r.filter, false};
  // The columns and rows of the source that the window needs.
  const Coefficients::Taps columns = wide ? reach(across) : Coefficients::Taps{x0, x1 - x0};
  const Coefficients::Taps rows = high ? reach(down) : Coefficients::Taps{y0, y1 - y0};
  const size_t bytes = size_t(columnsOf(r)) * (rows.first + rows.count - r.firstRow) * r.channels;
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
  if (wide && high) {
    // The extent of the first pass's output: all columns that the second pass needs and only the rows of the
    // window, or vice versa.
    if (r.verticalFirst)
      p.x0 = columns.first, p.x1 = columns.first + columns.count;
    else
      p.y0 = rows.first, p.y1 = rows.first + rows.count;
    std::vector<uint8_t> middle(size_t(p.x1 - p.x0) * (p.y1 - p.y0) * r.channels);
    p.dst = middle.data();
    r.verticalFirst ? pass(p, down, vertical) : pass(p, across, horizontal);
    p.src = middle.data(), p.srcEnd = p.src + middle.size();
    p.left = p.x0, p.top = p.y0, p.width = p.x1 - p.x0;
    p.x0 = x0, p.x1 = x1, p.y0 = y0, p.y1 = y1, p.dst = r.dst;
    r.verticalFirst ? pass(p, across, horizontal) : pass(p, down, vertical);
  } else if (wide || high) {
    wide ? pass(p, across, horizontal) : pass(p, down, vertical);
  } else {
    const size_t row = size_t(r.cropWidth) * r.channels;
    for (int y = y0; y < y1; y++)
      std::memcpy(r.dst + (y - y0) * row, r.src + pixelAt(r, x0, y) * r.channels, row);
  }
}

}  // namespace clip
