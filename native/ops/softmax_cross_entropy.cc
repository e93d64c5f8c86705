#include "ops/cases.h"

namespace clip::ops::softmaxCrossEntropy {

// Of every third row the target does not count. inPlace: the gradient replaces the logits. extremes:
// infinities and NaN in the first rows.
std::vector<Case> cases() {
  const Shapes softmaxCrossEntropy{{"rows", "cols"}};
  return {
      softmaxCrossEntropy("one of everything", kTested, {1, 1}, {{"scale", 5}}),
      softmaxCrossEntropy("two columns", kTested, {3, 2}),
      softmaxCrossEntropy("one short of the vectors", kTested, {5, 31}, {{"scale", 3}}),
      softmaxCrossEntropy("two of a warp", kTested, {5, 64}, {{"scale", 4}}),
      softmaxCrossEntropy("odd sizes", kTested, {19, 133}, {{"scale", 4}}),
      softmaxCrossEntropy("several columns of a lane", kTested | kFirstLoad, {7, 300}, {{"scale", 4}}),
      softmaxCrossEntropy("one block of columns", kTested, {2, 1024}, {{"scale", 10}}),
      softmaxCrossEntropy("one past the block", kTested, {2, 1025}, {{"scale", 10}}),
      softmaxCrossEntropy("a vocabulary", kTested, {3, 49408}, {{"scale", 6}}),
      softmaxCrossEntropy("logits of +-1000", kTested, {7, 50}, {{"scale", 500}}),
      softmaxCrossEntropy("equal logits", kTested, {2, 77}, {{"scale", 0}}),
      softmaxCrossEntropy("in place", kEmulated, {5, 100}, {{"scale", 4}, {"inPlace", 1}}),
      softmaxCrossEntropy("infinities and NaN", kEmulated, {8, 70}, {{"scale", 4}, {"extremes", 1}}),
      softmaxCrossEntropy("pairs of a batch", kTimed, {1024, 1024}, {{"scale", 4}}),
      softmaxCrossEntropy("OpenAI's vocabulary", kTimed, {64, 49408}, {{"scale", 4}}),
  };
}

}  // namespace clip::ops::softmaxCrossEntropy
