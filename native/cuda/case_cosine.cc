// The ops that compare rows with each other, on the cases of ops/cases.cc. An op of several kernels is made for
// each of them: `run` is that kernel's launch, and those before and after it are run beside.
#include <algorithm>

#include "check_support.h"
#include "cosine.h"

namespace clip::cuda::check {
namespace {

using ops::Case;

std::string size(int a, int b) { return std::to_string(a) + " x " + std::to_string(b); }

// How far a logit may be off: the roundings of the dot product and of the norms.
double logitBound(int dim, float scale) { return (2 * dim + 16) * 0x1p-23 * scale; }

ChunkSums sums(Machine& m, int count) {
  return {static_cast<float*>(m.take(sizeof(float) * count)),
          static_cast<float*>(m.take(sizeof(float) * count))};
}

constexpr double kLength = 1.5;  // of the rows of pairs, which are taken as they are

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
                               .diagonal = static_cast<float*>(m.take(sizeof(float) * rows)),
                               .loss = static_cast<float*>(m.take(sizeof(float)))};
  return {images, texts, call, scratch};
}

}  // namespace

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
