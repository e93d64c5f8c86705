#include "ops/cases.h"

namespace clip::ops::gather {

// `rows` of a matrix of 40 or, if given, `from` rows. padding: the last row's number is negative.
std::vector<Case> cases() {
  const Shapes gather{{"rows", "cols"}};
  return {
      gather("icon-clip", kTested, {32, 192}),
      gather("ViT-B/32 text", kTested, {10, 512}),
      gather("one element", kTested, {1, 1}),
      gather("odd sizes", kTested, {7, 37}),
      gather("one short of the vectors", kTested, {3, 31}),
      gather("a row of padding", kEmulated | kFirstLoad, {5, 70}, {{"padding", 1}}),
      gather("64 images of ViT-B/32", kTimed, {64, 768}, {{"from", 3200}}),
  };
}

}  // namespace clip::ops::gather
