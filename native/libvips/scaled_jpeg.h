#pragma once
// Decodes a JPEG at 1/2, 1/4 or 1/8 of its size, which libjpeg does in the inverse DCT for a fraction of the
// work. It uses the libvips that sharp has loaded into this process, because sharp itself offers the scaled
// decoder only in combination with a resize of its own (by at least 9/8). Nothing is loaded here: if libvips
// can't be found, scaledJpegs() returns false, and lib decodes the whole image with sharp.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace clip {

struct ScaledJpeg {
  const uint8_t* bytes;  // the file
  size_t length;
  int scale;          // 2, 4 or 8
  bool turn;          // according to the EXIF orientation
  int width, height;  // of the result, before it is turned
  int channels;       // 1: grey, 3: RGB, 4: CMYK in Pillow's convention
  uint8_t* out;       // (height, width, channels) or, turned, perhaps (width, height, channels)
  std::chrono::steady_clock::time_point end;  // when to give up
  const std::atomic<bool>* stop;              // set from another thread: give up
};

// Whether libvips is loaded in this process. Looks for it until it is found.
bool scaledJpegs();

// Returns the width of the image in `out`, or 0 if libvips rejected the file or gave up. May be called on any
// thread.
int decodeScaled(const ScaledJpeg&);

}  // namespace clip
