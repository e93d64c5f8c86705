#pragma once
// Pillow's resampling arithmetic (libImaging/Resample.c, Geometry.c): coefficients are computed in double,
// then converted to fixed point with 22 fractional bits. They are computed in code that is compiled without
// vector targets and without fused multiply-add (the build uses -ffp-contract=off), because a coefficient
// that differs in its last bit would change pixels.
#include <cstdint>
#include <functional>
#include <vector>

#include "backend.h"

namespace clip {

constexpr int kResampleBits = 32 - 8 - 2;

// The coefficients of output positions [begin, begin + at.size()) of an axis that is resized from `in` to
// `out`. Position i is the sum over j < at[i].count of k[i * stride + j] * source[at[i].first + j]. The
// coefficients from count up to stride, a multiple of 8, are 0.
//
// `Side` is one axis of the source. Its last pixel may belong to the image only in part: up to `end`.
struct Side {
  int pixels;
  double end;
  Side(int all) : pixels(all), end(all) {}  // NOLINT: usually all of it
  Side(int all, double until) : pixels(all), end(until > 0 ? until : all) {}
  // Whether a pass along this axis has nothing to do.
  bool stays(int out) const { return pixels == out && end == pixels; }
};

struct Coefficients {
  struct Taps {
    int first, count;
  };
  std::vector<Taps> at;
  std::vector<int32_t> k;
  int stride = 0;
};
Coefficients coefficients(Side in, int out, int begin, int end, Filter);

// The source positions on which output position i depends.
Coefficients::Taps tapsOf(Side in, int out, int i, Filter);

// Passes on the weights of output position i before they are rounded to fixed point; they sum to 1. use(j, w,
// n) gets those of taps j .. j + n - 1. If an image is made much smaller, a position can have millions of
// taps, so n is at most kTapsAtOnce; the calls are in order, and most positions need only one.
constexpr int kTapsAtOnce = 1 << 15;
void eachTap(Side in, int out, int i, Filter, const std::function<void(int, const double*, int)>& use);

// NEAREST: the source index of every output position in [begin, end), or -1 if Pillow's running sum leaves
// the axis (the pixel is then 0). As in ImagingScaleAffine, the position is a running sum of the scale that
// starts at scale / 2.
std::vector<int> nearestIndex(int in, int out, int begin, int end);

// Converts a sum of pixel * coefficient that started at 1 << (kResampleBits - 1) to a pixel.
inline uint8_t clip8(int32_t sum) {
  const int32_t v = sum >> kResampleBits;
  return uint8_t(v < 0 ? 0 : v > 255 ? 255 : v);
}

// One pass over the part of an image that is still needed. Pixel (x, y) of the whole image is at (x - left, y
// - top) of src, whose rows are `width` pixels long. Writes pixels [x0, x1) x [y0, y1) densely to dst. `at`
// and `k` are as in Coefficients, for x0 .. x1 - 1 (horizontal) or y0 .. y1 - 1 (vertical).
struct ResizePass {
  const uint8_t *src, *srcEnd;
  int left, top, width, channels;
  const Coefficients::Taps* at;
  const int32_t* k;
  int stride;
  int x0, x1, y0, y1;
  uint8_t* dst;
};

// Carries out a whole Resize by means of its two passes: determines which rows and columns they need, their
// order, and which can be skipped. Nearest needs neither. A pass whose coefficients would take more than some
// megabytes (a side of half a million pixels) runs here instead, tap by tap, without a table of coefficients.
void resizeWith(const Resize&, void (*horizontal)(const ResizePass&), void (*vertical)(const ResizePass&));

}  // namespace clip
