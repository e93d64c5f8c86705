#pragma once
// Decodes a JPEG at 1/2, 1/4 or 1/8 of its size, which libjpeg does in the inverse DCT for a fraction of the
// work. The libvips that sharp has loaded into this process does it: sharp itself offers the scaled decoder
// only together with a resize of its own, which always follows (by at least 9/8). Nothing is loaded here:
// where libvips can't be found, `scaledJpegs()` says so, and lib decodes the whole image with sharp.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace clip {

struct ScaledJpeg {
  const uint8_t* bytes;  // the file
  size_t length;
  int scale;          // 2, 4 or 8
  bool turn;          // as the EXIF orientation says
  int width, height;  // of the result, before it is turned
  int channels;       // 1 grey, 3 RGB, 4 CMYK as Pillow has it
  uint8_t* out;       // (height, width, channels) or, turned, perhaps (width, height, channels)
  std::chrono::steady_clock::time_point end;  // when to give up
  const std::atomic<bool>* stop;              // set from another thread: give up
};

// Whether libvips is in this process. Looks for it until it is found.
bool scaledJpegs();

// The width of what `out` then holds, or 0: libvips refused the file, or gave up. Any thread.
int decodeScaled(const ScaledJpeg&);

}  // namespace clip
