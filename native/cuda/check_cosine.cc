#include <algorithm>

#include "check_support.h"
#include "cosine.h"
#include "ops.h"
#include "top_k.h"

namespace clip::cuda::check {
namespace {

constexpr int kRows = 5, kDim = 40, kClasses = 1100;  // more than a chunk

// How far a score may be off: the dot product's and the norms' roundings.
double scoreBound(Score score, float scale) {
  return (2 * kDim + 16) * 0x1p-23 * (score == Score::cosine ? 1 : scale);
}

std::string softmax(Device& d, Score score) {
  const float scale = 20;
  const Values q = normal(1, kRows, kDim, 3), c = normal(2, kClasses, kDim);
  CosineSoftmax call{.queries = d.copy(q.data),
                     .classes = {.data = d.copy(c.data)},
                     .y = static_cast<float*>(d.take(sizeof(float) * kRows * kClasses)),
                     .rows = kRows,
                     .classCount = kClasses,
                     .dim = kDim,
                     .scale = scale,
                     .score = score};
  ops::run(d.context(), call);
  Values got(kRows, kClasses), want(kRows, kClasses);
  got.data = d.floats(call.y, got.data.size());
  call.queries = q.data.data();
  call.classes.data = c.data.data();
  call.y = want.data.data();
  referenceBackend.cosineSoftmax(Device::reference(), call);
  const double off = scoreBound(score, scale);
  // Both the score and the largest are off; the exponentials and their sum are rounded.
  return compare(got, want, [&](int r, int j) {
    return score == Score::probability
               ? want.row(r)[j] * (std::expm1(2 * off) + (kClasses + 20) * 0x1p-23) + 1e-37
               : off;
  });
}

// Values in order, and each the score of its index.
std::string topK(Device& d) {
  const float scale = 20;
  const int k = 7;
  const Values q = normal(1, kRows, kDim, 3), c = normal(2, kClasses, kDim);
  Values got(kRows, k), want(kRows, k), all(kRows, kClasses);
  std::vector<int32_t> index(size_t{kRows} * k), wantIndex(size_t{kRows} * k);
  const auto run = [&](const Backend* reference, const float* queries, const void* classes, Values& value,
                       std::vector<int32_t>& indices) {
    std::vector<TopK> best;
    for (int r = 0; r < kRows; r++) best.push_back({value.row(r), indices.data() + size_t(r) * k, k});
    std::vector<TopKSum> sums(size_t(blocksOf(kClasses)) * kRows);
    const CosineTopK call{.queries = queries,
                          .classes = {.data = classes},
                          .best = best.data(),
                          .sums = sums.data(),
                          .rows = kRows,
                          .classCount = kClasses,
                          .dim = kDim,
                          .firstClass = 0,
                          .scale = scale,
                          .score = Score::probability};
    if (reference)
      reference->cosineTopK(Device::reference(), call);
    else
      ops::run(d.context(), call);
    finishTopK(best.data(), sums.data(), blocksOf(kClasses), kRows, Score::probability);
  };
  run(nullptr, d.copy(q.data), d.copy(c.data), got, index);
  run(&referenceBackend, q.data.data(), c.data.data(), want, wantIndex);
  referenceBackend.cosineSoftmax(Device::reference(), {.queries = q.data.data(),
                                                       .classes = {.data = c.data.data()},
                                                       .y = all.data.data(),
                                                       .rows = kRows,
                                                       .classCount = kClasses,
                                                       .dim = kDim,
                                                       .scale = scale,
                                                       .score = Score::probability});
  const double off = std::expm1(2 * scoreBound(Score::probability, scale)) + (kClasses + 20) * 0x1p-23;
  const Bound bound = [&](int r, int i) { return want.row(r)[i] * off + 1e-37; };
  Values ofIndex(kRows, k);
  for (int r = 0; r < kRows; r++)
    for (int i = 0; i < k; i++) {
      const int32_t j = index[size_t(r) * k + i];
      if (j < 0 || j >= kClasses) return "row " + std::to_string(r) + ": index " + std::to_string(j);
      ofIndex.row(r)[i] = all.row(r)[j];
    }
  const std::string wrong = compare(got, want, bound);
  return wrong.empty() ? compare(got, ofIndex, bound) : wrong;
}

}  // namespace

void addCosine(std::vector<Check>& checks) {
  checks.push_back({{"clip_cosine_scores"}, [](Device& d) { return softmax(d, Score::cosine); }});
  checks.push_back({{"clip_softmax_rows"}, [](Device& d) { return softmax(d, Score::probability); }});
  checks.push_back({{"clip_cosine_top_k", "clip_cosine_top_k_merge"}, topK});
}

}  // namespace clip::cuda::check
