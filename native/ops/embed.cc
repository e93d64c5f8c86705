#include "ops/cases.h"

namespace clip::ops::embed {

// A table of 50 rows, 33 positions. padding: the last row's id is negative.
std::vector<Case> cases() {
  const Shapes embed{{"rows", "cols"}};
  return {
      embed("icon-clip", kTested, {32, 192}),
      embed("ViT-B/32 text", kTested, {10, 512}),
      embed("one element", kTested, {1, 1}),
      embed("odd sizes", kTested, {7, 37}),
      embed("one short of the vectors", kTested, {3, 31}),
      embed("a row of padding", kEmulated | kFirstLoad, {7, 70}, {{"padding", 1}}),
      embed("64 images of ViT-B/32", kTimed, {3200, 768}),
  };
}

}  // namespace clip::ops::embed
