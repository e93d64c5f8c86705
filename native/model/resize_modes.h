#pragma once
// The two ways of resizing that take more than one call of Backend::resize: with premultiplied alpha, and
// with 16 bits.
#include <cstdint>

#include "model/image.h"

namespace clip {

// (width, height) is resized to (outWidth, outHeight), of which only the window is computed; the window's
// position in the square result is (padX, padY).
struct Geometry {
  int outWidth = 0, outHeight = 0;
  int cropX = 0, cropY = 0, cropWidth = 0, cropHeight = 0;
  int padX = 0, padY = 0;
  bool verticalFirst = false;
};

// The source positions [begin, end) of an axis resized from `in` to `out` on which output positions [first,
// first + count) depend.
struct Span {
  int begin, end;
};
Span sourceSpan(int in, int out, int first, int count, Filter);

// Pillow's MULDIV255: a * b / 255, rounded.
constexpr int multiply255(int a, int b) {
  const int t = a * b + 128;
  return ((t >> 8) + t) >> 8;
}

// Resizes LA and RGBA like Image.resize: converted to La / RGBa, resized, and converted back. dst: the
// window, in the image's mode. Besides the image it needs memory for a few bands of about a megabyte and for
// the result of the first pass: the rows of the image that affect the window x the columns of the window.
void resizePremultiplied(const Backend&, Context&, const Image&, const Geometry&, Filter, uint8_t* dst);

// Resizes I;16: sums in double, rounded to 16 bits after each pass. dst: the window, uint16.
void resize16(const Image&, const Geometry&, Filter, uint8_t* dst);

}  // namespace clip
