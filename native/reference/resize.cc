// The two passes of Pillow's 8-bit resize in plain loops (libImaging/Resample.c).
#include "reference/reference.h"
#include "resample.h"

namespace clip {
namespace {

// dst(x, y) = clip8(1/2 + sum over j of k[x][j] * src(first[x] + j, y))
void horizontal(const ResizePass& p) {
  uint8_t* dst = p.dst;
  for (int y = p.y0; y < p.y1; y++) {
    endIfStopped();
    for (int x = p.x0; x < p.x1; x++)
      for (int c = 0; c < p.channels; c++) {
        const Coefficients::Taps t = p.at[x - p.x0];
        const int32_t* k = p.k + size_t(x - p.x0) * p.stride;
        const uint8_t* src = p.src + (size_t(y - p.top) * p.width + t.first - p.left) * p.channels + c;
        int32_t sum = 1 << (kResampleBits - 1);
        for (int j = 0; j < t.count; j++) sum += src[size_t(j) * p.channels] * k[j];
        *dst++ = clip8(sum);
      }
  }
}

// dst(x, y) = clip8(1/2 + sum over j of k[y][j] * src(x, first[y] + j))
void vertical(const ResizePass& p) {
  uint8_t* dst = p.dst;
  for (int y = p.y0; y < p.y1; y++) {
    endIfStopped();
    for (int x = p.x0; x < p.x1; x++)
      for (int c = 0; c < p.channels; c++) {
        const Coefficients::Taps t = p.at[y - p.y0];
        const int32_t* k = p.k + size_t(y - p.y0) * p.stride;
        const uint8_t* src = p.src + (size_t(t.first - p.top) * p.width + x - p.left) * p.channels + c;
        int32_t sum = 1 << (kResampleBits - 1);
        for (int j = 0; j < t.count; j++) sum += src[size_t(j) * p.width * p.channels] * k[j];
        *dst++ = clip8(sum);
      }
  }
}

}  // namespace

void reference::resize(Context&, const Resize& r) { resizeWith(r, horizontal, vertical); }

}  // namespace clip
