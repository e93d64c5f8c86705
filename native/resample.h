#pragma once
// Pillow's resampling arithmetic (libImaging/Resample.c, Geometry.c): coefficients in double, then fixed
// point with 22 fractional bits. Made in code that is compiled without vector targets and without fused
// multiply-add (the build has -ffp-contract=off), because one differing last bit of a coefficient would show
// in the image.
#include <cstdint>
#include <functional>
#include <vector>

#include "backend.h"

namespace clip {

constexpr int kResampleBits = 32 - 8 - 2;

// Output positions [begin, begin + at.size()) of an axis resized from `in` to `out`. Position i is the sum
// over j < at[i].count of k[i * stride + j] * source[at[i].first + j]; k beyond count is 0 up to stride, a
// multiple of 8.
struct Coefficients {
  struct Taps {
    int first, count;
  };
  std::vector<Taps> at;
  std::vector<int32_t> k;
  int stride = 0;
};
Coefficients coefficients(int in, int out, int begin, int end, Filter);

// The source positions that output position i is made of.
Coefficients::Taps tapsOf(int in, int out, int i, Filter);

// Hands out the weights of output position i before they are rounded to fixed point, which sum to 1:
// use(j, w, n) gets those of taps j .. j + n - 1. A position of an image made much smaller has millions of
// taps, so n is at most kTapsAtOnce; the calls are in order, and most positions need only one.
constexpr int kTapsAtOnce = 1 << 15;
void eachTap(int in, int out, int i, Filter, const std::function<void(int, const double*, int)>& use);

// NEAREST: the source index of every output position in [begin, end), -1 where Pillow's running sum leaves
// the axis (the pixel is then 0). Position is a running sum of the scale from scale / 2 on, as in
// ImagingScaleAffine.
std::vector<int> nearestIndex(int in, int out, int begin, int end);

// A sum of pixel * coefficient that started at 1 << (kResampleBits - 1), as a pixel.
inline uint8_t clip8(int32_t sum) {
  const int32_t v = sum >> kResampleBits;
  return uint8_t(v < 0 ? 0 : v > 255 ? 255 : v);
}

// One pass over the part of an image that is still needed: pixel (x, y) of the whole lies at (x - left, y -
// top) of src, whose rows are `width` pixels. Writes pixels [x0, x1) x [y0, y1) densely to dst; `at` and `k`
// as in Coefficients, for x0 .. x1 - 1 (horizontal) or y0 .. y1 - 1 (vertical).
struct ResizePass {
  const uint8_t *src, *srcEnd;
  int left, top, width, channels;
  const Coefficients::Taps* at;
  const int32_t* k;
  int stride;
  int x0, x1, y0, y1;
  uint8_t* dst;
};

// The whole of a Resize in terms of its two passes: which rows and columns they need, in which order they
// run, which is skipped. Nearest needs neither. A pass whose coefficients would take more than some megabytes
// (a side of half a million pixels) is made here, tap by tap, with no table of them.
void resizeWith(const Resize&, void (*horizontal)(const ResizePass&), void (*vertical)(const ResizePass&));

}  // namespace clip
