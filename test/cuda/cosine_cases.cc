// clip_cosine_* and clip_softmax_rows against native/reference/.
#include "cosine.h"

#include <algorithm>

#include "emulated.h"
#include "kernel_runs.h"
#include "matrices.h"
#include "top_k.h"

namespace {

using namespace clip;
using device::Machine;
using device::Memory;
using device::Values;

struct Sums {
  Memory most, sum;
  explicit Sums(int numbers) : most(size_t{4} * numbers), sum(size_t{4} * numbers) {}
  cuda::ChunkSums pointers() const { return {most.as<float>(), sum.as<float>()}; }
};

// How far a score may be off: the dot product's and the norms' roundings.
double scoreBound(int dim, Score score, float scale) {
  return (2 * dim + 16) * 0x1p-23 * (score == Score::cosine ? 1 : scale);
}

Values queriesOf(int rows, int dim, bool nan) {
  Values q = device::normal(1, rows, dim, 3);
  if (nan && rows > 1) q.row(1)[dim / 2] = std::nanf("");
  if (rows > 2) std::fill_n(q.row(2), dim, 0.f);
  return q;
}

// Dense rows as Classes has them.
Memory stored(const Values& c, Dtype dtype) {
  if (dtype == Dtype::float32) return device::copyOf(c.data);
  std::vector<uint16_t> halves;
  for (const float v : c.data) halves.push_back(device::toHalf(v, dtype));
  return device::copyOf(halves);
}

std::string softmax(const Machine& m, int rows, int classes, int dim, Score score, float scale,
                    Dtype dtype = Dtype::float32, bool nan = false) {
  Values q = queriesOf(rows, dim, nan), c = device::rounded(device::normal(2, classes, dim), dtype),
         want(rows, classes);
  if (nan) c.row(classes / 2)[0] = std::nanf("");
  const Memory queries = device::copyOf(q.data), table = stored(c, dtype), unit(q.data.size() * 4),
               y(want.data.size() * 4);
  CosineSoftmax call{.queries = queries.as<float>(),
                     .classes = {.data = table.as<void>(), .dtype = dtype},
                     .y = y.as<float>(),
                     .rows = rows,
                     .classCount = classes,
                     .dim = dim,
                     .scale = scale,
                     .score = score};
  const Normalise n = cuda::denseNormalise(call.queries, unit.as<float>(), rows, dim);
  device::run(m, cuda::launchOf(n), n);
  const float* units = unit.as<float>();
  device::run(m, cuda::cosineScoresLaunch(call), call, units);
  if (score == Score::probability) device::run(m, cuda::softmaxRowsLaunch(call), call);
  call.y = want.data.data();
  call.classes = {.data = c.data.data()};
  referenceBackend.cosineSoftmax(device::referenceContext(), call);
  Values got(rows, classes);
  std::copy_n(y.as<float>(), got.data.size(), got.data.begin());
  const double off = scoreBound(dim, score, scale);
  return device::compare(got, want, [&](int r, int j) {
    // Both the score and the largest are off; the exponentials and their sum are rounded.
    return score == Score::probability
               ? want.row(r)[j] * (std::expm1(2 * off) + (classes + 20) * 0x1p-23) + 1e-37
               : off;
  });
}

std::string topK(const Machine& m, int rows, int classes, int dim, int k, Score score, float scale,
                 bool nan = false) {
  Values q = queriesOf(rows, dim, nan), c = device::normal(2, classes, dim);
  // Equal classes tie: the lower index first.
  for (int j = 5; j < classes; j += 7) std::copy_n(c.row(j - 5), dim, c.row(j));
  const Memory queries = device::copyOf(q.data), table = device::copyOf(c.data);
  const int chunks = cuda::chunksOf(classes), kept = cuda::keptOf(k);
  const Memory unit(q.data.size() * 4), value(size_t{4} * chunks * rows * kept),
      index(size_t{4} * chunks * rows * kept), head(size_t{4} * chunks * rows),
      outIndex(size_t{4} * rows * k), outValue(size_t{4} * rows * k);
  const Sums sums(chunks * rows);
  const cuda::TopKScratch scratch{unit.as<float>(), sums.pointers(), value.as<float>(), index.as<int32_t>(),
                                  head.as<int32_t>()};
  cuda::TopClasses call{.queries = queries.as<float>(),
                        .classes = {.data = table.as<void>()},
                        .index = outIndex.as<int32_t>(),
                        .value = outValue.as<float>(),
                        .rows = rows,
                        .classCount = classes,
                        .dim = dim,
                        .k = k,
                        .scale = scale,
                        .score = score};
  const Normalise n = cuda::denseNormalise(call.queries, scratch.unit, rows, dim);
  device::run(m, cuda::launchOf(n), n);
  device::run(m, cuda::cosineTopKLaunch(call), call, scratch);
  device::run(m, cuda::cosineTopKMergeLaunch(call), call, scratch);
  // All scores by the reference: what is returned must be in order, each be the score of its index, and none
  // that is missing may be better than the last by more than the bound.
  Values all(rows, classes), wantValue(rows, k);
  referenceBackend.cosineSoftmax(device::referenceContext(), {.queries = q.data.data(),
                                                              .classes = {.data = c.data.data()},
                                                              .y = all.data.data(),
                                                              .rows = rows,
                                                              .classCount = classes,
                                                              .dim = dim,
                                                              .scale = scale,
                                                              .score = score});
  std::vector<int32_t> wantIndex(static_cast<size_t>(rows) * k);
  std::vector<TopK> best;
  for (int r = 0; r < rows; r++) best.push_back({wantValue.row(r), wantIndex.data() + size_t(r) * k, k});
  std::vector<TopKSum> blocks(size_t(blocksOf(classes)) * rows);
  referenceBackend.cosineTopK(device::referenceContext(), {.queries = q.data.data(),
                                                           .classes = {.data = c.data.data()},
                                                           .best = best.data(),
                                                           .sums = blocks.data(),
                                                           .rows = rows,
                                                           .classCount = classes,
                                                           .dim = dim,
                                                           .firstClass = 0,
                                                           .scale = scale,
                                                           .score = score});
  finishTopK(best.data(), blocks.data(), blocksOf(classes), rows, score);
  const double off = scoreBound(dim, score, scale);
  const auto bound = [&](double v) {
    return score == Score::probability ? v * (std::expm1(2 * off) + (classes + 20) * 0x1p-23) + 1e-37 : off;
  };
  Values got(rows, k);
  std::copy_n(call.value, got.data.size(), got.data.begin());
  if (const std::string wrong =
          device::compare(got, wantValue, [&](int r, int i) { return bound(wantValue.row(r)[i]); });
      !wrong.empty())
    return wrong;
  for (int r = 0; r < rows; r++) {
    std::vector<bool> seen(classes);
    for (int i = 0; i < k; i++) {
      const int j = call.index[r * k + i];
      if (j < 0 || j >= classes || seen[j]) return cases::format("row %d: index %d", r, j);
      seen[j] = true;
      const float want = all.row(r)[j], has = got.row(r)[i];
      if (!(std::isnan(want) ? std::isnan(has) : std::fabs(want - has) <= bound(want)))
        return cases::format("row %d: class %d has %g, not %g", r, j, want, has);
      if (i > 0 && has == got.row(r)[i - 1] && score != Score::probability && j < call.index[r * k + i - 1])
        return cases::format("row %d: a tie out of order", r);
    }
    // Where scores are NaN the order is that of the reference exactly.
    for (int i = 0; i < k && std::isnan(wantValue.row(r)[i]); i++)
      if (call.index[r * k + i] != wantIndex[r * k + i]) return cases::format("row %d: NaN order", r);
  }
  return "";
}

void addAll(const Machine& m, const std::string& group) {
  const bool isFibers = &m == &device::fibers();
  const char* names[] = {"probability", "logit", "cosine"};
  for (const Score score : {Score::probability, Score::logit, Score::cosine}) {
    const char* name = names[int(score)];
    for (const auto& [rows, classes, dim] : {std::tuple{1, 1, 1}, {3, 10, 64}, {9, 33, 70}, {2, 500, 16}}) {
      cases::add(group, cases::format("cosineSoftmax %d x %d x %d, %s", rows, classes, dim, name),
                 [&m, rows = rows, classes = classes, dim = dim, score] {
                   return softmax(m, rows, classes, dim, score, 100);
                 });
    }
    for (const auto& [rows, classes, dim, k] :
         {std::tuple{1, 1, 1, 1}, {3, 40, 64, 5}, {9, 33, 20, 33}, {2, 1025, 8, 4}, {1, 2100, 4, 1030}})
      cases::add(
          group, cases::format("cosineTopK %d x %d x %d, k %d, %s", rows, classes, dim, k, name),
          [&m, rows = rows, classes = classes, dim = dim, k = k, score] {
            return topK(m, rows, classes, dim, k, score, 100);
          },
          k > 1000 && !isFibers);
    cases::add(group, cases::format("cosineSoftmax, NaN, %s", name),
               [&m, score] { return softmax(m, 3, 20, 32, score, 10, Dtype::float32, true); });
    cases::add(group, cases::format("cosineTopK, NaN, %s", name),
               [&m, score] { return topK(m, 3, 50, 32, 6, score, 10, true); });
  }
  cases::add(group, "cosineSoftmax of bfloat16 classes",
             [&m] { return softmax(m, 5, 30, 70, Score::probability, 100, Dtype::bfloat16); });
}

const cases::Registration registration([] {
  addAll(device::fibers(), "cosine");
  if (device::ptx()) addAll(*device::ptx(), "cosine-ptx");
});

}  // namespace

std::string cosineOfModels(const device::Machine& machine) {
  std::string wrong = softmax(machine, 3, 500, 64, Score::probability, 100);
  if (wrong.empty()) wrong = topK(machine, 9, 1100, 64, 5, Score::probability, 100);
  for (const ops::Case& c : ops::casesOf("infoNce", ops::kFirstLoad)) {
    device::Emulated emulated(machine);
    const cuda::check::Made made = cuda::check::infoNce(emulated, c, Dtype::float32);
    made.run();
    if (wrong.empty()) wrong = made.difference();
  }
  return wrong;
}
