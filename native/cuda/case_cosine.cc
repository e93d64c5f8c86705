// The ops that compare rows with each other, on the cases of ops/. For an op of several kernels there is a
// case for each of them: `run` launches only that kernel, and the kernels before and after it are launched
// separately.
#include <algorithm>
#include <cstring>

#include "check_support.h"
#include "cosine.h"
#include "top_k.h"

namespace clip::cuda::check {
namespace {

using ops::Case;

std::string size(int a, int b) { return std::to_string(a) + " x " + std::to_string(b); }

// The largest error of a logit: the rounding of the dot product and of the norms.
double logitBound(int dim, float scale) { return (2 * dim + 16) * 0x1p-23 * scale; }

template <class T>
T* space(Machine& m, size_t count) {
  return static_cast<T*>(m.take(sizeof(T) * count));
}

ChunkSums sums(Machine& m, int count) { return {space<float>(m, count), space<float>(m, count)}; }

// Queries and classes. Of every seven classes the sixth equals the first, so that there are equal scores.
struct Table {
  Values queries, classes;
  CosineSoftmax call;
  const float* unit;

  std::string shape() const { return size(call.rows, call.classCount) + " x " + std::to_string(call.dim); }
  double products() const { return double{1} * call.rows * call.classCount; }
  // The bound for a score, or for a probability of that size: both the score and the largest score have
  // errors, and the exponentials and their sum are rounded.
  double bound(Score score, double value) const {
    // Adding the bias rounds once more.
    const double off = logitBound(call.dim, score == Score::cosine ? 1 : call.scale) +
                       (score == Score::cosine ? 0 : std::fabs(call.bias) * 0x1p-23);
    if (score == Score::sigmoid) return value * (std::expm1(off) + 8 * 0x1p-23) + 1e-37;
    return score == Score::probability
               ? value * (std::expm1(2 * off) + (call.classCount + 20) * 0x1p-23) + 1e-37
               : off;
  }
  CosineSoftmax of(Score score) const {
    CosineSoftmax c = call;
    c.score = score;
    return c;
  }
  void run(Machine& m, Score score) const {
    const CosineSoftmax c = of(score);
    m.run(cosineScoresLaunch(c), {&c, &unit});
  }
  void soften(Machine& m, Score score = Score::probability) const {
    const CosineSoftmax c = of(score);
    m.run(softmaxRowsLaunch(c), {&c});
  }
  Values want(Score score) const {
    Values y(call.rows, call.classCount);
    CosineSoftmax here = of(score);
    here.queries = queries.data.data();
    here.classes = {.data = classes.data.data()};
    here.y = y.data.data();
    referenceBackend.cosineSoftmax(Machine::reference(), here);
    return y;
  }
  std::string difference(Machine& m, Score score) const {
    Values got(call.rows, call.classCount);
    got.data = m.floats(call.y, got.data.size());
    const Values right = want(score);
    return compare(got, right, [&](int r, int j) { return bound(score, right.row(r)[j]); });
  }
};

Table tableOf(Machine& m, const Case& c, bool nanClass) {
  const int rows = c["rows"], classCount = c["classCount"], dim = c["dim"];
  const Dtype dtype = c["bfloat16"] ? Dtype::bfloat16 : Dtype::float32;
  Values queries = normal(1, rows, dim, 3), classes(classCount, dim);
  if (c["nan"]) queries.row(1)[dim / 2] = std::nanf("");
  if (rows > 2) std::fill_n(queries.row(2), dim, 0.f);
  const Values some = normal(2, std::min(classCount, 8192), dim, 1, dtype);
  for (int j = 0; j < classCount; j++) std::copy_n(some.row(j % some.rows), dim, classes.row(j));
  for (int j = 5; j < classCount; j += 7) std::copy_n(classes.row(j - 5), dim, classes.row(j));
  if (nanClass) classes.row(classCount / 2)[0] = std::nanf("");
  const void* there = nullptr;
  if (dtype == Dtype::float32) {
    there = m.copy(classes.data);
  } else {
    std::vector<uint16_t> halves(classes.data.size());
    for (size_t i = 0; i < halves.size(); i++) {
      uint32_t bits = 0;
      std::memcpy(&bits, &classes.data[i], sizeof bits);
      halves[i] = static_cast<uint16_t>(bits >> 16);
    }
    there = m.copy(halves);
  }
  const CosineSoftmax call{.queries = m.copy(queries.data),
                           .classes = {.data = there, .dtype = dtype},
                           .y = space<float>(m, size_t(rows) * classCount),
                           .rows = rows,
                           .classCount = classCount,
                           .dim = dim,
                           .scale = static_cast<float>(c.number("logitScale", 100)),
                           .score = Score::probability,
                           .bias = static_cast<float>(c.number("logitBias"))};
  float* const unit = space<float>(m, size_t(rows) * dim);
  const Normalise n = denseNormalise(call.queries, unit, rows, dim);
  m.run(launchOf(n), {&n});
  return {queries, classes, call, unit};
}

// The best k of a table's classes.
struct Ranking {
  Table table;
  int k;
  TopClasses call;
  TopKScratch scratch;

  TopClasses of(Score score) const {
    TopClasses c = call;
    c.score = score;
    return c;
  }
  void rank(Machine& m, Score score) const {
    const TopClasses c = of(score);
    m.run(cosineTopKLaunch(c), {&c, &scratch});
  }
  void merge(Machine& m, Score score) const {
    const TopClasses c = of(score);
    m.run(cosineTopKMergeLaunch(c), {&c, &scratch});
  }
  std::string difference(Machine& m, Score score) const;
};

// The result must be the best values in order, each of them the score of its index. Of equal scores the lower
// index comes first, and if scores are NaN the order is that of the reference.
std::string Ranking::difference(Machine& m, Score score) const {
  const int rows = call.rows, classes = call.classCount;
  Values got(rows, k), want(rows, k);
  got.data = m.floats(call.value, got.data.size());
  std::vector<int32_t> index(got.data.size()), wantIndex(got.data.size());
  m.download(index.data(), call.index, index.size() * sizeof(int32_t));
  std::vector<TopK> best;
  for (int r = 0; r < rows; r++) best.push_back({want.row(r), wantIndex.data() + size_t(r) * k, k});
  std::vector<TopKSum> sums(size_t(blocksOf(classes)) * rows);
  referenceBackend.cosineTopK(Machine::reference(), {.queries = table.queries.data.data(),
                                                     .classes = {.data = table.classes.data.data()},
                                                     .best = best.data(),
                                                     .sums = sums.data(),
                                                     .rows = rows,
                                                     .classCount = classes,
                                                     .dim = call.dim,
                                                     .firstClass = 0,
                                                     .scale = call.scale,
                                                     .score = score,
                                                     .bias = call.bias});
  finishTopK(best.data(), sums.data(), blocksOf(classes), rows, score);
  const Values all = table.want(score);
  const std::string wrong =
      compare(got, want, [&](int r, int i) { return table.bound(score, want.row(r)[i]); });
  if (!wrong.empty()) return wrong;
  for (int r = 0; r < rows; r++) {
    std::vector<bool> seen(classes);
    const std::string row = "row " + std::to_string(r) + ": ";
    for (int i = 0; i < k; i++) {
      const size_t at = size_t(r) * k + i;
      const int j = index[at];
      if (j < 0 || j >= classes || seen[j]) return row + "index " + std::to_string(j);
      seen[j] = true;
      const float score0 = all.row(r)[j], has = got.row(r)[i];
      if (std::isnan(score0) ? !std::isnan(has) : !(std::fabs(score0 - has) <= table.bound(score, score0)))
        return row + "class " + std::to_string(j) + " has " + std::to_string(has) + ", not " +
               std::to_string(score0);
      if (i > 0 && has == got.row(r)[i - 1] && score != Score::probability && j < index[at - 1])
        return row + "a tie out of order";
      if (std::isnan(want.row(r)[i]) && j != wantIndex[at]) return row + "the order of NaN";
    }
  }
  return "";
}

Ranking rankingOf(Machine& m, const Case& c) {
  const Table t = tableOf(m, c, false);
  const int rows = t.call.rows, classes = t.call.classCount, chunks = rows * chunksOf(classes);
  const int k = static_cast<int>(c.number("k", std::min(5, classes)));
  const size_t kept = size_t(chunks) * keptOf(k), best = size_t(rows) * k;
  const TopClasses call{.queries = t.call.queries,
                        .classes = t.call.classes,
                        .index = space<int32_t>(m, best),
                        .value = space<float>(m, best),
                        .rows = rows,
                        .classCount = classes,
                        .dim = t.call.dim,
                        .k = k,
                        .scale = t.call.scale,
                        .score = Score::probability,
                        .bias = t.call.bias};
  const TopKScratch scratch{.unit = const_cast<float*>(t.unit),
                            .sums = sums(m, chunks),
                            .value = space<float>(m, kept),
                            .index = space<int32_t>(m, kept),
                            .head = space<int32_t>(m, chunks)};
  return {t, k, call, scratch};
}

constexpr double kLength = 1.5;  // of the rows of pairs, which the op does not normalize

struct Pairs {
  Values images, texts;
  InfoNce call;
  InfoNceScratch scratch;

  void compare(Machine& m) const { m.run(infoNceLaunch(call), {&call, &scratch}); }
  void add(Machine& m) const { m.run(infoNceLossLaunch(), {&call, &scratch}); }
  std::string difference(Machine& m) const {
    double loss = 0;
    InfoNce here = call;
    here.images = images.data.data();
    here.texts = texts.data.data();
    here.loss = &loss;
    referenceBackend.infoNce(Machine::reference(), here);
    const double length = kLength * kLength;
    Values got(1, 1), want(1, 1);
    got.data = m.floats(scratch.loss, 1);
    want.data[0] = static_cast<float>(loss);
    return check::compare(got, want, [&](int, int) {
      return 2 * length * logitBound(call.dim, call.scale) +
             (call.rows + 20) * 0x1p-23 * (length * call.scale + std::fabs(loss) + 10);
    });
  }
};

Pairs pairsOf(Machine& m, const Case& c) {
  const int rows = c["rows"], dim = c["dim"], chunks = rows * chunksOf(rows);
  const float alike = static_cast<float>(c.number("alike", 0.5));
  Values images = normal(1, rows, dim), texts = normal(2, rows, dim);
  for (size_t i = 0; i < texts.data.size(); i++)
    texts.data[i] = alike * images.data[i] + (1 - alike) * texts.data[i];
  for (Values* side : {&images, &texts})
    for (int r = 0; r < rows; r++) {
      double squares = 0;
      for (int i = 0; i < dim; i++) squares += double{side->row(r)[i]} * side->row(r)[i];
      for (int i = 0; i < dim; i++) side->row(r)[i] *= static_cast<float>(kLength / std::sqrt(squares));
    }
  const InfoNce call{.images = m.copy(images.data),
                     .texts = m.copy(texts.data),
                     .rows = rows,
                     .dim = dim,
                     .scale = static_cast<float>(c.number("logitScale")),
                     .loss = nullptr,
                     .imagesGradient = nullptr,
                     .textsGradient = nullptr,
                     .scaleGradient = nullptr};
  const InfoNceScratch scratch{.sums = {sums(m, chunks), sums(m, chunks)},
                               .diagonal = space<float>(m, rows),
                               .loss = space<float>(m, 1)};
  return {images, texts, call, scratch};
}

}  // namespace

Made cosineScores(Machine& m, const Case& c, Dtype) {
  const Table t = tableOf(m, c, c["nan"]);
  const auto difference = [=, &m] {
    const std::string wrong = t.difference(m, Score::logit);
    if (!wrong.empty()) return "logit: " + wrong;
    t.run(m, Score::cosine);
    return t.difference(m, Score::cosine);
  };
  const double dim = t.call.dim;
  return {[=, &m] { t.run(m, Score::logit); }, difference, t.shape(),
          2 * t.products() * dim + 2. * t.call.classCount * dim,
          4. * (t.call.rows + t.call.classCount) * dim + 4 * t.products()};
}

Made softmaxRows(Machine& m, const Case& c, Dtype) {
  const Table t = tableOf(m, c, c["nan"]);
  t.run(m, Score::probability);
  // In place, so only the result of the first run is meaningful.
  const auto difference = [=, &m] {
    const std::string wrong = t.difference(m, Score::probability);
    if (!wrong.empty()) return wrong;
    t.run(m, Score::logit);
    t.soften(m, Score::sigmoid);
    const std::string other = t.difference(m, Score::sigmoid);
    return other.empty() ? other : "sigmoid: " + other;
  };
  return {[=, &m] { t.soften(m); }, difference, size(t.call.rows, t.call.classCount), 8 * t.products(),
          8 * t.products()};
}

Made cosineTopK(Machine& m, const Case& c, Dtype) {
  const Ranking r = rankingOf(m, c);
  const auto difference = [=, &m] {
    for (const Score score : {Score::probability, Score::logit, Score::cosine}) {
      if (score != Score::probability) r.rank(m, score);
      r.merge(m, score);
      const std::string wrong = r.difference(m, score);
      if (!wrong.empty()) return "score " + std::to_string(int(score)) + ": " + wrong;
    }
    return std::string();
  };
  const double products = double{1} * r.call.classCount * r.call.dim;
  return {[=, &m] { r.rank(m, Score::probability); }, difference,
          r.table.shape() + ", the best " + std::to_string(r.k), 2 * products * (r.call.rows + 1),
          4 * products};
}

Made cosineTopKMerge(Machine& m, const Case& c, Dtype) {
  const Ranking r = rankingOf(m, c);
  r.rank(m, Score::probability);
  const int lists = r.call.rows * chunksOf(r.call.classCount);
  return {[=, &m] { r.merge(m, Score::probability); },
          [=, &m] { return r.difference(m, Score::probability); },
          std::to_string(lists) + " lists of " + std::to_string(r.k), 0, 4. * lists * (2 + 2 * r.k)};
}

Made infoNce(Machine& m, const Case& c, Dtype) {
  const Pairs p = pairsOf(m, c);
  const auto difference = [=, &m] {
    p.add(m);
    return p.difference(m);
  };
  const double rows = p.call.rows, dim = p.call.dim;
  return {[=, &m] { p.compare(m); }, difference, size(p.call.rows, p.call.dim) + " pairs",
          4. * rows * rows * dim, 8. * rows * dim};
}

Made infoNceLoss(Machine& m, const Case& c, Dtype) {
  const Pairs p = pairsOf(m, c);
  p.compare(m);
  return {[=, &m] { p.add(m); }, [=, &m] { return p.difference(m); }, std::to_string(p.call.rows) + " pairs",
          0, 20. * p.call.rows};
}

}  // namespace clip::cuda::check
