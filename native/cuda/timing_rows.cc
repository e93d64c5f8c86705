// Kernels that go row by row, and those that compare rows with each other.
#include <memory>

#include "cosine.h"
#include "rows.h"
#include "timing_support.h"

namespace clip::cuda::timing {
namespace {

std::string size(int a, int b) { return std::to_string(a) + " x " + std::to_string(b); }

// The pooled rows of 64 images of ViT-B/32.
int pooledOf(const Bench& b) { return b.small ? 3 : 64; }
int dimOf(const Bench& b) { return b.small ? 24 : 512; }

// 64 images and ImageNet's classes.
CosineSoftmax softmaxCall(Bench& b) {
  const int rows = pooledOf(b), dim = dimOf(b), classes = b.small ? 30 : 1000;
  return {.queries = nullptr,
          .classes = {.data = b.floats(static_cast<size_t>(classes) * dim)},
          .y = b.floats(static_cast<size_t>(rows) * classes),
          .rows = rows,
          .classCount = classes,
          .dim = dim,
          .scale = 100,
          .score = Score::probability};
}
Work scores(Bench& b) {
  const CosineSoftmax c = softmaxCall(b);
  const float* const unit = b.floats(static_cast<size_t>(c.rows) * c.dim);
  const double products = double{1} * c.rows * c.classCount;
  return {size(c.rows, c.classCount) + " x " + std::to_string(c.dim),
          2 * products * c.dim + 2. * c.classCount * c.dim,
          4. * (c.rows + c.classCount) * c.dim + 4 * products, false,
          b.launching(cosineScoresLaunch(c), c, unit)};
}
Work softmaxRows(Bench& b) {
  const CosineSoftmax c = softmaxCall(b);
  const double scores = double{1} * c.rows * c.classCount;
  return {size(c.rows, c.classCount), 4 * scores, 8 * scores, false, b.launching(softmaxRowsLaunch(c), c)};
}

// An image and a hundred thousand classes.
struct Ranking {
  TopClasses c;
  TopKScratch scratch;
};
Ranking ranking(Bench& b) {
  const int classes = b.small ? 1100 : 100000, dim = b.small ? 8 : 512, k = 5;
  const int chunks = chunksOf(classes);
  const auto n = static_cast<size_t>(chunks);
  return {.c = {.queries = nullptr,
                .classes = {.data = b.floats(static_cast<size_t>(classes) * dim)},
                .index = static_cast<int32_t*>(b.zeros(4 * k)),
                .value = static_cast<float*>(b.zeros(4 * k)),
                .rows = 1,
                .classCount = classes,
                .dim = dim,
                .k = k,
                .scale = 100,
                .score = Score::probability},
          .scratch = {.unit = b.floats(static_cast<size_t>(dim)),
                      .sums = {static_cast<float*>(b.zeros(4 * n)), static_cast<float*>(b.zeros(4 * n))},
                      .value = static_cast<float*>(b.zeros(4 * n * k)),
                      .index = static_cast<int32_t*>(b.zeros(4 * n * k)),
                      .head = static_cast<int32_t*>(b.zeros(4 * n))}};
}
Work topK(Bench& b) {
  const Ranking r = ranking(b);
  const double products = double{1} * r.c.classCount * r.c.dim;
  return {"1 x " + size(r.c.classCount, r.c.dim) + ", the best 5", 4 * products, 4 * products, false,
          b.launching(cosineTopKLaunch(r.c), r.c, r.scratch)};
}
Work topKMerge(Bench& b) {
  const Ranking r = ranking(b);
  b.stream().run(b.launching(cosineTopKLaunch(r.c), r.c, r.scratch));
  const int chunks = chunksOf(r.c.classCount);
  return {std::to_string(chunks) + " lists of 5", 0, 4. * chunks * (2 + 2 * 5), false,
          b.launching(cosineTopKMergeLaunch(r.c), r.c, r.scratch)};
}

}  // namespace

void addRows(std::vector<Case>& cases) {
  for (const check::RowOp& op : check::rowOps())
    for (const ops::Case& c : ops::casesOf(op.op, ops::kTimed))
      cases.push_back({op.kernel, [&op, c](Bench& b) {
                         const auto machine = std::make_shared<Timed>(b);
                         const check::Made made =
                             op.make(*machine, b.small ? ops::casesOf(op.op, ops::kFirstLoad).front() : c,
                                     op.dtypes ? Dtype::bfloat16 : Dtype::float32);
                         return Work{made.shape, made.flops, made.bytes, false,
                                     [machine, run = made.run](CUstream) { run(); }};
                       }});
  cases.push_back({"clip_cosine_scores", scores});
  cases.push_back({"clip_softmax_rows", softmaxRows});
  cases.push_back({"clip_cosine_top_k", topK});
  cases.push_back({"clip_cosine_top_k_merge", topKMerge});
}

}  // namespace clip::cuda::timing
