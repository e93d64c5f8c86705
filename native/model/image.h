#pragma once
// Turns a decoded image into the image tower's input, in OpenAI's order: resize and crop in the image's own
// mode (like Pillow), convert to RGB, then normalize.
#include <cstdint>

#include "backend.h"
#include "model/config.h"

namespace clip {

enum class PixelMode : uint8_t { L, LA, RGB, RGBA, CMYK, I16 };
constexpr int channelsOf(PixelMode m) {
  return m == PixelMode::L || m == PixelMode::I16 ? 1 : m == PixelMode::LA ? 2 : m == PixelMode::RGB ? 3 : 4;
}

// A rectangle of an image, in pixels.
struct Part {
  int left = 0, top = 0, width = 0, height = 0;
};

// An image to encode: decoded pixels, or planes that are already preprocessed.
struct Image {
  const uint8_t* data = nullptr;     // (height, width, channels) of `part`, dense; uint16 for I16
  int width = 0, height = 0;         // of the whole image
  Part part{};                       // the part of the image that `data` contains; width 0: the whole image
  double endColumn = 0, endRow = 0;  // where the image ends in its last column and row; 0: at their end
  PixelMode mode = PixelMode::RGB;
  bool nearest = false;           // palette and 1-bit images, which Pillow resizes with NEAREST
  const float* planes = nullptr;  // (3, size, size); then data is nullptr
};

// Converts `data` to (size, size, 3) bytes, exactly as Pillow does in OpenAI's `preprocess` before ToTensor.
// Runs on one thread of `context`; the caller processes several images in parallel.
void resizeAndCrop(const Backend&, Context&, const PreprocessConfig&, const Image&, uint8_t* rgb);

// The part of an image of that size that affects the result when it is resized with the config's filter;
// nothing else needs to be decoded. Only images of mode L, RGB and CMYK that are not `nearest` may be passed
// in part.
Part reachingPart(const PreprocessConfig&, int width, int height);

// value[channel * 256 + byte] = (byte / 255 - mean) / std, in float32, as computed by torchvision.
void normaliseTable(const PreprocessConfig&, float value[3 * 256]);

}  // namespace clip
