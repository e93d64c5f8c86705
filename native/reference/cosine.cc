// The specification of normalize, cosineSoftmax and cosineTopK, in plain loops with double accumulators.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "threads/context.h"
#include "reference/reference.h"
#include "top_k.h"

namespace clip {
namespace reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double norm(const float* x, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += double(x[i]) * x[i];
  const double root = std::sqrt(sum);
  return root < 1e-12 ? 1e-12 : root;  // torch.nn.functional.normalize; NaN stays NaN
}

double cosine(const float* a, const float* b, int n) {
  double dot = 0;
  for (int i = 0; i < n; i++) dot += double(a[i]) * b[i];
  return dot / norm(a, n) / norm(b, n);
}

// The cosine itself, or the logit computed from it. Without a bias, the sign of a zero is kept.
template <class Op>
double scoreOf(const Op& c, double cosine) {
  if (c.score == Score::cosine) return cosine;
  return c.bias == 0 ? c.scale * cosine : c.scale * cosine + c.bias;
}

// A query in the form in which the rows of `Classes` are compared with it.
class Query {
 public:
  Query(const float* x, int dim, const Classes& classes) : classes_(classes), x_(x, x + dim), wide_(dim) {
    if (classes.dtype != Dtype::int8) return;
    float most = 0;
    for (const float v : x_) {
      if (!std::isfinite(v)) finite_ = false;
      most = std::max(most, std::fabs(v));
    }
    const float inverse = 1.0f / std::max(most / float(kQuerySteps), 1e-30f);
    for (float& v : x_) {
      const float q = std::nearbyint(v * inverse);
      v = std::min(std::max(q, float(-kQuerySteps)), float(kQuerySteps));
    }
  }

  // The cosine with row j: both sides are normalized.
  double cosineWith(int j) {
    const size_t dim = x_.size(), at = size_t(j) * dim;
    if (classes_.dtype != Dtype::int8) {
      const char* row = static_cast<const char*>(classes_.data) + at * bytesOf(classes_.dtype);
      for (size_t i = 0; i < dim; i++) wide_[i] = widen(row, classes_.dtype, i);
      return cosine(x_.data(), wide_.data(), int(dim));
    }
    const float scale = classes_.scale ? classes_.scale[j] : 1.0f;
    if (!finite_ || !std::isfinite(scale)) return std::numeric_limits<double>::quiet_NaN();
    const int8_t* row = static_cast<const int8_t*>(classes_.data) + at;
    int64_t dot = 0, queryNorm = 0, rowNorm = 0;
    for (size_t i = 0; i < dim; i++) {
      const int64_t q = int64_t(x_[i]), b = row[i];
      dot += q * b, queryNorm += q * q, rowNorm += b * b;
    }
    if (scale == 0 || queryNorm == 0 || rowNorm == 0) return 0;
    const double c = double(dot) / std::sqrt(double(queryNorm)) / std::sqrt(double(rowNorm));
    return scale < 0 ? -c : c;
  }

 private:
  const Classes& classes_;
  std::vector<float> x_, wide_;
  bool finite_ = true;
};

}  // namespace

// y = x / max(|x|, 1e-12).
void normalise(Context& context, const Normalise& n) {
  eachRow(context.threads, n.rows, [&](int r) {
    const double length = norm(in(n.x, r), n.cols);
    for (int i = 0; i < n.cols; i++) out(n.y, r)[i] = float(in(n.x, r)[i] / length);
  });
}

// p(class | query) = softmax(scale * cosine + bias): Radford et al. 2021 section 3.1.2; with the sigmoid:
// Zhai et al. 2023 section 3.2.
void cosineSoftmax(Context& context, const CosineSoftmax& c) {
  eachRow(context.threads, c.rows, [&](int r) {
    Query query(c.queries + size_t(r) * c.dim, c.dim, c.classes);
    float* y = c.y + size_t(r) * c.classCount;
    std::vector<double> score(c.classCount);
    double top = -kInfinity, sum = 0;
    for (int j = 0; j < c.classCount; j++) {
      endIfStopped();
      const double v = query.cosineWith(j);
      top = std::max(top, score[j] = scoreOf(c, v));
    }
    for (double v : score) sum += std::exp(v - top);
    for (int j = 0; j < c.classCount; j++)
      y[j] = float(c.score == Score::probability ? std::exp(score[j] - top) / sum
                   : c.score == Score::sigmoid   ? 1 / (1 + std::exp(-score[j]))
                                                 : score[j]);
  });
}

// The k best classes only, ranked by their float32 scores.
void cosineTopK(Context& context, const CosineTopK& c) {
  eachRow(context.threads, c.rows, [&](int r) {
    Query query(c.queries + size_t(r) * c.dim, c.dim, c.classes);
    std::vector<double> score;
    for (int block = 0; block < blocksOf(c.classCount); block++) {
      endIfStopped();
      const int first = block * kTopKBlock, end = std::min(c.classCount, first + kTopKBlock);
      TopKSum& sum = c.sums[size_t(block) * c.rows + r] = {-kInfinity, 0};
      score.clear();
      for (int j = first; j < end; j++) {
        const double v = scoreOf(c, query.cosineWith(j));
        score.push_back(v);
        sum.most = std::max(sum.most, v);
        c.best[r].push(float(v), c.firstClass + j);
      }
      for (const double v : score) sum.sum += std::exp(v - sum.most);
    }
  });
}

}  // namespace reference
}  // namespace clip
