#include "resample.h"

#include <algorithm>
#include <cmath>

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

}  // namespace clip
