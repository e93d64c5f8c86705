#pragma once
// The two ways of resizing that are more than one call of Backend::resize: through premultiplied alpha, and
// 16 bits.
#include <cstdint>

#include "model/image.h"

namespace clip {

// (width, height) becomes (outWidth, outHeight), of which the window is computed; it lies at (padX, padY) of
// the square result.
struct Geometry {
  int outWidth = 0, outHeight = 0;
  int cropX = 0, cropY = 0, cropWidth = 0, cropHeight = 0;
  int padX = 0, padY = 0;
  bool verticalFirst = false;
};

// Source positions [begin, end) of an axis resized from `in` to `out` that reach output positions [first,
// first + count).
struct Span {
  int begin, end;
};
Span sourceSpan(int in, int out, int first, int count, Filter);

// Pillow's MULDIV255: a * b / 255, rounded.
constexpr int multiply255(int a, int b) {
  const int t = a * b + 128;
  return ((t >> 8) + t) >> 8;
}

// LA and RGBA as Image.resize does them: to La / RGBa, resized, and back. dst: the window, in the image's
// mode. Beside the image it takes a few bands of about a MB and what lies between the passes: rows of the
// image that reach the window x columns of the window.
void resizePremultiplied(const Backend&, Context&, const Image&, const Geometry&, Filter, uint8_t* dst);

// I;16: double sums, rounded to 16 bits after each pass. dst: the window, uint16.
void resize16(const Image&, const Geometry&, Filter, uint8_t* dst);

}  // namespace clip
