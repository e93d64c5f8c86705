#include "ops/call.h"
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

Job prepare(Call& c) {
  const int rows = c.integer("rows"), cols = c.integer("cols");
  const Dtype dtype = c.rowDtype("dtype"), outDtype = c.rowDtype("outDtype");
  requireFloats("dtype", dtype);
  requireFloats("outDtype", outDtype);
  // Rows that do not count may have any target.
  std::vector<int32_t> target = c.indices("targets", rowsOf(rows), INT32_MIN, INT32_MAX);
  const std::vector<uint8_t> mask = c.has("mask") ? c.bytes("mask", rowsOf(rows)) : std::vector<uint8_t>{};
  int counted = 0;
  for (int r = 0; r < rows; ++r) {
    if (!mask.empty() && !mask[r]) {
      target[r] = -1;
      continue;
    }
    counted++;
    if (target[r] < 0 || target[r] >= cols)
      wrong("targets[" + std::to_string(r) + "]", "be an integer from 0 to " + std::to_string(cols - 1),
            std::to_string(target[r]));
  }
  const float scale =
      c.has("scale") ? static_cast<float>(c.number("scale")) : 1 / static_cast<float>(counted);
  const LentMatrix x = c.matrix("logits", rows, cols, dtype);
  const auto loss = c.output<float>("loss", {rowsOf(rows)});
  const LentMatrix gradient =
      c.has("gradient") ? c.outputMatrix("gradient", rows, cols, outDtype) : LentMatrix{};
  double* const mean = c.output<double>("mean", {1}).host;
  return [=, target = std::move(target)](const Backend& b, Context& context, Arrays& at) {
    b.softmaxCrossEntropy(context, {.x = at(x),
                                    .target = at(target),
                                    .loss = at(loss),
                                    .gradient = at(gradient),
                                    .rows = rows,
                                    .cols = cols,
                                    .scale = scale});
    at.giveBack();
    double sum = 0;
    for (int r = 0; r < rows; ++r) sum += double{loss.host[r]};
    *mean = sum / counted;  // NaN where no row counts
  };
}

}  // namespace clip::ops::softmaxCrossEntropy
