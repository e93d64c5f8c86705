#include "ops/cases.h"

namespace clip::ops::resize {

// The tests run every case with each filter, and with 1 to 4 channels for bicubic; they compare the whole image and
// a window of it. Timed are bicubic and 3 channels. CUDA resizes on the CPU and has no kernel.
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

}  // namespace clip::ops::resize
