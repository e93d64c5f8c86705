#include "ops/call.h"
#include "ops/cases.h"

namespace clip::ops::resize {

// The tests run every case with each filter, and with 1 to 4 channels for bicubic; they compare the whole
// image and a window of it. Bicubic with 3 channels is timed. CUDA has no kernel for it and resizes on the
// CPU.
std::vector<Case> cases() {
  const Shapes resize{{"width", "height", "outWidth", "outHeight"}};
  return {
      // A quarter of the photographs' sides: only the ratios matter.
      resize("1280x853 / 4", kTested, {320, 213, 84, 56}),
      resize("4000x3000 / 4", kTested, {1000, 750, 74, 56}),
      resize("icon", kTested | kTimed, {72, 72, 224, 224}),
      resize("one pixel", kTested, {1, 1, 1, 1}),
      resize("one pixel grows", kTested, {1, 1, 17, 9}),
      resize("to one pixel", kTested, {37, 23, 1, 1}),
      resize("a row", kTested, {100, 1, 33, 1}),
      resize("a column past 100:1", kTested, {2, 301, 5, 60}),
      resize("a column past 100:1 grows", kTested, {2, 301, 4, 602}),
      resize("unchanged", kTested, {19, 21, 19, 21}),
      resize("only horizontally", kTested, {40, 30, 13, 30}),
      resize("only vertically", kTested, {40, 30, 40, 77}),
      resize("odd sizes", kTested, {67, 45, 31, 71}),
      resize("1280x853", kTimed, {1280, 853, 336, 224}),
      resize("4000x3000", kTimed, {4000, 3000, 298, 224}),
  };
}

Job prepare(Call& c) {
  constexpr int side = 1 << 20;
  const int width = c.integer("width", 1, side), height = c.integer("height", 1, side);
  const int channels = c.integer("channels", 1, 4);
  const int outWidth = c.integer("outWidth", 1, side), outHeight = c.integer("outHeight", 1, side);
  const int x = c.integer("crop.x", 0, outWidth - 1), y = c.integer("crop.y", 0, outHeight - 1);
  const int w = c.integer("crop.width", 1, outWidth - x), h = c.integer("crop.height", 1, outHeight - y);
  const Filter filter = c.choice<Filter>(
      "filter", {{"nearest", Filter::nearest}, {"bilinear", Filter::bilinear}, {"bicubic", Filter::bicubic}});
  // Images are in this process's memory on every backend.
  const uint8_t* const src = c.array<uint8_t>("src", {rowsOf(width), rowsOf(height), rowsOf(channels)}).host;
  uint8_t* const out = c.output<uint8_t>("out", {rowsOf(w), rowsOf(h), rowsOf(channels)}).host;
  return [=](const Backend& b, Context& context, Arrays&) {
    b.resize(context, {.src = src,
                       .width = width,
                       .height = height,
                       .channels = channels,
                       .outWidth = outWidth,
                       .outHeight = outHeight,
                       .cropX = x,
                       .cropY = y,
                       .cropWidth = w,
                       .cropHeight = h,
                       .filter = filter,
                       // Image.resize: "if self.size[1] > self.size[0] * 100 and size[1] < self.size[1]"
                       .verticalFirst = height > int64_t{width} * 100 && outHeight < height,
                       .dst = out});
  };
}

}  // namespace clip::ops::resize
