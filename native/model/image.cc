// OpenAI's `preprocess` up to ToTensor, byte for byte like Pillow 12 and torchvision. Only the window that
// remains after the crop is computed, so an image of 1 x 1000000 pixels costs no more than its window.
#include "model/image.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "error.h"
#include "model/resize_modes.h"

namespace clip {
namespace {

[[noreturn]] void fail(const std::string& message, const std::string& expected, const std::string& actual) {
  throw Error{.code = "ERR_CLIP_IMAGE", .message = message, .expected = expected, .actual = actual};
}

std::string by(double width, double height) {
  return std::to_string(static_cast<int64_t>(width)) + " x " + std::to_string(static_cast<int64_t>(height));
}

// Python's round: to the nearest integer, ties to even (the default rounding mode of nearbyint).
double roundHalfEven(double x) { return std::nearbyint(x); }

// The size to which the image is resized. Python's division of integers is correctly rounded, and so is
// double(a) / double(b) as long as both are below 2^53.
void resizedSize(const PreprocessConfig& c, double w, double h, Geometry& g) {
  const double n = c.size;
  double outW = n, outH = n;
  switch (c.mode) {
    case PreprocessConfig::shortest:  // torchvision _compute_resized_output_size
      (w <= h ? outH : outW) = w <= h ? std::trunc(n * h / w) : std::trunc(n * w / h);
      break;
    case PreprocessConfig::squash:
      break;
    // open_clip ResizeKeepRatio, except that it fails if a side would become 0; here the side becomes 1.
    case PreprocessConfig::longest: {
      const double ratio = std::max(w / n, h / n);
      outW = std::max(1.0, roundHalfEven(w / ratio));
      outH = std::max(1.0, roundHalfEven(h / ratio));
      break;
    }
  }
  if (outW > INT_MAX || outH > INT_MAX)
    fail("An image of " + by(w, h) + " pixels is too narrow: with its short side resized to " +
             std::to_string(c.size) + " pixels it would be " + by(outW, outH),
         "sides of at most 2147483647 pixels after resizing", by(outW, outH));
  g.outWidth = static_cast<int>(outW);
  g.outHeight = static_cast<int>(outH);
}

// torchvision center_crop along one axis: a side that is too short is padded first, with (n - length) / 2
// pixels before it.
void centreCrop(int n, int length, int& crop, int& cropLength, int& pad) {
  if (length < n) {
    pad = (n - length) / 2;
    crop = 0;
    cropLength = length;
  } else {
    pad = 0;
    crop = static_cast<int>(roundHalfEven((length - n) / 2.0));
    cropLength = n;
  }
}

Geometry geometry(const PreprocessConfig& c, double width, double height) {
  Geometry g;
  resizedSize(c, width, height, g);
  centreCrop(c.size, g.outWidth, g.cropX, g.cropWidth, g.padX);
  centreCrop(c.size, g.outHeight, g.cropY, g.cropHeight, g.padY);
  // Image.resize: "if self.size[1] > self.size[0] * 100 and size[1] < self.size[1]", which makes two calls.
  g.verticalFirst = height > 100 * width && g.outHeight < height;
  return g;
}

// Converts one row of pixels of the window to RGB like Image.convert("RGB") (libImaging/Convert.c).
void convertRow(PixelMode mode, const uint8_t* in, int count, uint8_t* rgb) {
  for (int i = 0; i < count; i++, rgb += 3) switch (mode) {
      case PixelMode::L:
        rgb[0] = rgb[1] = rgb[2] = in[i];
        break;
      case PixelMode::LA:
        rgb[0] = rgb[1] = rgb[2] = in[2 * i];
        break;
      case PixelMode::RGB:
        std::memcpy(rgb, in + 3 * i, 3);
        break;
      case PixelMode::RGBA:
        std::memcpy(rgb, in + 4 * i, 3);
        break;
      case PixelMode::CMYK: {
        const int notK = 255 - in[4 * i + 3];
        for (int c = 0; c < 3; c++)
          rgb[c] = static_cast<uint8_t>(std::max(0, notK - multiply255(in[4 * i + c], notK)));
        break;
      }
      case PixelMode::I16: {  // clipped at 255, not scaled
        uint16_t v;
        std::memcpy(&v, in + 2 * i, 2);
        rgb[0] = rgb[1] = rgb[2] = static_cast<uint8_t>(std::min<int>(v, 255));
        break;
      }
    }
}

Resize resizeOf(const Image& image, const Geometry& g, Filter filter, uint8_t* dst) {
  return {.src = image.data,
          .width = image.width,
          .height = image.height,
          .channels = channelsOf(image.mode),
          .outWidth = g.outWidth,
          .outHeight = g.outHeight,
          .cropX = g.cropX,
          .cropY = g.cropY,
          .cropWidth = g.cropWidth,
          .cropHeight = g.cropHeight,
          .filter = filter,
          .verticalFirst = g.verticalFirst,
          .dst = dst,
          .firstRow = image.part.top,
          .firstColumn = image.part.left,
          .columns = image.part.width,
          .endColumn = image.endColumn,
          .endRow = image.endRow};
}

bool isWhole(const Image& i) {
  return i.part.width == 0 || (i.part.width == i.width && i.part.height == i.height);
}

bool includes(const Part& outer, const Part& inner) {
  return outer.left <= inner.left && outer.top <= inner.top &&
         outer.left + outer.width >= inner.left + inner.width &&
         outer.top + outer.height >= inner.top + inner.height;
}

Part reachingPart(const Geometry& g, Filter filter, int width, int height) {
  const Span columns = sourceSpan(width, g.outWidth, g.cropX, g.cropWidth, filter);
  const Span rows = sourceSpan(height, g.outHeight, g.cropY, g.cropHeight, filter);
  return {columns.begin, rows.begin, columns.end - columns.begin, rows.end - rows.begin};
}

}  // namespace

void resizeAndCrop(const Backend& backend, Context& context, const PreprocessConfig& config,
                   const Image& image, uint8_t* rgb) {
  if (image.width < 1 || image.height < 1)
    fail("An image has no pixels", "at least 1 x 1 pixel", by(image.width, image.height));
  const Geometry g = geometry(config, image.endColumn > 0 ? image.endColumn : image.width,
                              image.endRow > 0 ? image.endRow : image.height);
  const Filter filter = image.nearest ? Filter::nearest : config.filter;
  const bool partial =
      filter != Filter::nearest &&
      (image.mode == PixelMode::RGB || image.mode == PixelMode::L || image.mode == PixelMode::CMYK);
  if (!isWhole(image) &&
      !(partial && includes(image.part, reachingPart(g, filter, image.width, image.height))))
    fail("A part of an image lacks pixels that its crop needs",
         partial ? "what reachingPart says" : "the whole image", by(image.part.width, image.part.height));
  const bool same = g.outWidth == image.width && g.outHeight == image.height;
  const bool whole = g.cropWidth == config.size && g.cropHeight == config.size;
  const int bytes = image.mode == PixelMode::I16 ? 2 : channelsOf(image.mode);

  if (image.mode == PixelMode::RGB && whole)  // the most common case needs no conversion
    return backend.resize(context, resizeOf(image, g, filter, rgb));

  std::vector<uint8_t> window(static_cast<size_t>(g.cropWidth) * g.cropHeight * bytes);
  if (image.mode == PixelMode::I16)
    resize16(image, g, filter, window.data());
  else if ((image.mode == PixelMode::LA || image.mode == PixelMode::RGBA) && !same &&
           filter != Filter::nearest)
    resizePremultiplied(backend, context, image, g, filter, window.data());
  else
    backend.resize(context, resizeOf(image, g, filter, window.data()));

  // Padding is 0 in the image's own mode: black, except that it is white for CMYK.
  if (!whole)
    std::memset(rgb, image.mode == PixelMode::CMYK ? 255 : 0, size_t{3} * config.size * config.size);
  for (int y = 0; y < g.cropHeight; y++)
    convertRow(image.mode, window.data() + static_cast<size_t>(y) * g.cropWidth * bytes, g.cropWidth,
               rgb + (static_cast<size_t>(y + g.padY) * config.size + g.padX) * 3);
}

Part reachingPart(const PreprocessConfig& config, int width, int height) {
  return config.filter == Filter::nearest
             ? Part{0, 0, width, height}
             : reachingPart(geometry(config, width, height), config.filter, width, height);
}

// ToTensor divides by 255, Normalize subtracts and divides; the result of each step is rounded to float32.
void normaliseTable(const PreprocessConfig& config, float value[3 * 256]) {
  for (int c = 0; c < 3; c++)
    for (int byte = 0; byte < 256; byte++)
      value[c * 256 + byte] = (static_cast<float>(byte) / 255.0f - config.mean[c]) / config.std[c];
}

}  // namespace clip
