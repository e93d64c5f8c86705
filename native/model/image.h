#pragma once
// From a decoded image to the image tower's input, in OpenAI's order: resize and crop in the image's own
// mode (as Pillow does), convert to RGB, then normalize.
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
  const uint8_t* data = nullptr;  // (height, width, channels) of `part`, dense; uint16 for I16
  int width = 0, height = 0;      // of the whole image
  Part part{};                    // what of it `data` holds; no width: all of it
  PixelMode mode = PixelMode::RGB;
  bool nearest = false;           // palette and 1-bit images: Pillow resizes them NEAREST
  const float* planes = nullptr;  // (3, size, size); then data is nullptr
};

// data -> (size, size, 3) bytes, as OpenAI's `preprocess` has them before ToTensor. Exactly Pillow's.
// Runs on one thread of `context`; the caller runs several images side by side.
void resizeAndCrop(const Backend&, Context&, const PreprocessConfig&, const Image&, uint8_t* rgb);

// The part of an image of that size that reaches the result, when it is resized with the config's filter:
// nothing else need be decoded. Only images of mode L, RGB and CMYK that are not `nearest` may come in
// part.
Part reachingPart(const PreprocessConfig&, int width, int height);

// value[channel * 256 + byte] = (byte / 255 - mean) / std, in float32 as torchvision computes it.
void normaliseTable(const PreprocessConfig&, float value[3 * 256]);

}  // namespace clip
