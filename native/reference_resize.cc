// Pillow's 8-bit resize in plain loops (libImaging/Resample.c), over the window only: output pixels are
// independent, so leaving the others out changes nothing.
#include <cstring>
#include <vector>

#include "reference.h"
#include "resample.h"

namespace clip {
namespace {

// A picture, or the part of one that is still needed: pixel (x, y) of the whole is at (x - left, y - top).
struct Part {
  const uint8_t* data;
  int left, top, width;
};

void nearest(const Resize& r) {
  const std::vector<int> xs = nearestIndex(r.width, r.outWidth, r.cropX, r.cropX + r.cropWidth);
  const std::vector<int> ys = nearestIndex(r.height, r.outHeight, r.cropY, r.cropY + r.cropHeight);
  uint8_t* dst = r.dst;
  for (int y : ys)
    for (int x : xs)
      for (int c = 0; c < r.channels; c++)
        *dst++ = x < 0 || y < 0 ? 0 : r.src[(size_t(y) * r.width + x) * r.channels + c];
}

// dst(x, y) = clip8(1/2 + sum over j of k[x][j] * src(first[x] + j, y)), for x in [x0, x1) and y in [y0, y1).
void horizontal(const Part& src, const Coefficients& h, int x0, int x1, int y0, int y1, int channels,
                uint8_t* dst) {
  for (int y = y0; y < y1; y++)
    for (int x = x0; x < x1; x++)
      for (int c = 0; c < channels; c++) {
        const Coefficients::Taps t = h.at[x - x0];
        const int32_t* k = &h.k[size_t(x - x0) * h.stride];
        const uint8_t* p = src.data + (size_t(y - src.top) * src.width + t.first - src.left) * channels + c;
        int32_t sum = 1 << (kResampleBits - 1);
        for (int j = 0; j < t.count; j++) sum += p[size_t(j) * channels] * k[j];
        *dst++ = clip8(sum);
      }
}

void vertical(const Part& src, const Coefficients& v, int x0, int x1, int y0, int y1, int channels,
              uint8_t* dst) {
  for (int y = y0; y < y1; y++)
    for (int x = x0; x < x1; x++)
      for (int c = 0; c < channels; c++) {
        const Coefficients::Taps t = v.at[y - y0];
        const int32_t* k = &v.k[size_t(y - y0) * v.stride];
        const uint8_t* p = src.data + (size_t(t.first - src.top) * src.width + x - src.left) * channels + c;
        int32_t sum = 1 << (kResampleBits - 1);
        for (int j = 0; j < t.count; j++) sum += p[size_t(j) * src.width * channels] * k[j];
        *dst++ = clip8(sum);
      }
}

}  // namespace

void referenceResize(Context&, const Resize& r) {
  const int x0 = r.cropX, x1 = x0 + r.cropWidth, y0 = r.cropY, y1 = y0 + r.cropHeight;
  if (x0 >= x1 || y0 >= y1) return;
  const bool wide = r.width != r.outWidth,
             high = r.height != r.outHeight;  // a pass that changes no size is skipped
  if (r.filter == Filter::nearest) return nearest(r);
  const Coefficients h = coefficients(r.width, r.outWidth, x0, x1, r.filter);
  const Coefficients v = coefficients(r.height, r.outHeight, y0, y1, r.filter);
  // The columns and rows of the source that reach the window.
  const int left = wide ? h.at.front().first : x0, right = wide ? h.at.back().first + h.at.back().count : x1;
  const int top = high ? v.at.front().first : y0, bottom = high ? v.at.back().first + v.at.back().count : y1;
  const Part whole{r.src, 0, 0, r.width};
  if (wide && high) {
    std::vector<uint8_t> middle;
    if (r.verticalFirst) {
      middle.resize(size_t(right - left) * (y1 - y0) * r.channels);
      vertical(whole, v, left, right, y0, y1, r.channels, middle.data());
      horizontal({middle.data(), left, y0, right - left}, h, x0, x1, y0, y1, r.channels, r.dst);
    } else {
      middle.resize(size_t(x1 - x0) * (bottom - top) * r.channels);
      horizontal(whole, h, x0, x1, top, bottom, r.channels, middle.data());
      vertical({middle.data(), x0, top, x1 - x0}, v, x0, x1, y0, y1, r.channels, r.dst);
    }
  } else if (wide) {
    horizontal(whole, h, x0, x1, y0, y1, r.channels, r.dst);
  } else if (high) {
    vertical(whole, v, x0, x1, y0, y1, r.channels, r.dst);
  } else {
    for (int y = y0; y < y1; y++)
      std::memcpy(r.dst + size_t(y - y0) * r.cropWidth * r.channels,
                  r.src + (size_t(y) * r.width + x0) * r.channels, size_t(r.cropWidth) * r.channels);
  }
}

}  // namespace clip
