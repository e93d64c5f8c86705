#include <algorithm>

#include "ops/call.h"
#include "ops/cases.h"
#include "ops/machine.h"

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

std::span<const Dtype> dtypes() { return kStored; }

Made made(Machine& m, const Case& c, Dtype dtype) {
  const int rows = c["rows"], cols = c["cols"];
  const float scale = 0.25f;
  Values x = normal(1, rows, cols, scaleOf(c), dtype);
  std::vector<int32_t> target(rows);
  for (int r = 0; r < rows; r++) target[r] = r % 3 == 2 ? -1 : r * 37 % cols;
  if (c["extremes"]) {
    const float infinity = INFINITY;
    x.row(0)[cols / 2] = infinity;
    std::fill_n(x.row(1), cols - 1, -infinity);
    x.row(2)[0] = std::nanf("");  // does not count
    x.row(3)[cols - 1] = std::nanf("");
    std::fill_n(x.row(4), cols, -infinity);
    x.row(6)[target[6]] = -infinity;
  }
  const MatrixView logits = m.matrix(x, dtype);
  const SoftmaxCrossEntropy call{.x = logits,
                                 .target = m.copy(target),
                                 .loss = m.copy(std::vector<float>(rows)),
                                 .gradient = c["inPlace"] ? logits : m.output(rows, cols, dtype),
                                 .rows = rows,
                                 .cols = cols,
                                 .scale = scale};
  const auto difference = [=, &m]() mutable {
    Values got(1, rows), losses(1, rows), want(rows, cols);
    got.data = m.floats(call.loss, rows);
    SoftmaxCrossEntropy here = call;
    here.x = x.view();
    here.target = target.data();
    here.loss = losses.data.data();
    here.gradient = want.view();
    referenceBackend.softmaxCrossEntropy(Machine::reference(), here);
    float most = 0;
    for (const float v : x.data)
      if (std::isfinite(v)) most = std::max(most, std::fabs(v));
    // Differences of logits, exponentials and their sum round; of the target 1 is subtracted.
    const double relative = summed(cols) + 4 * most * 0x1p-23;
    const std::string wrong =
        compare(got, losses, [&](int, int) { return 2 * relative + std::log(cols) * 0x1p-22; });
    if (!wrong.empty()) return "loss: " + wrong;
    return m.compareMatrix(call.gradient, want, [&](int r, int i) {
      return (relative + epsilon(dtype)) * std::fabs(want.row(r)[i]) +
             (i == target[r] ? scale * relative : 0) + (dtype == Dtype::float32 ? 1e-37 : 0x1p-25);
    });
  };
  return {running(m, call), difference, size(rows, cols) + inDtype(dtype), 8. * rows * cols,
          3. * double(bytesOf(dtype)) * rows * cols};
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
