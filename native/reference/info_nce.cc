// The symmetric contrastive loss and its gradients in plain loops, in double, with two rows of logits at a
// time.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "threads/context.h"
#include "reference/reference.h"

namespace clip {
namespace reference {
namespace {

double dot(const float* a, const float* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += double(a[i]) * b[i];
  return sum;
}

// log sum_j exp(scale * x[i] · y[j]), for every row i of x.
std::vector<double> logSums(const Context& context, const InfoNce& n, const float* x, const float* y) {
  std::vector<double> sums(n.rows);
  eachRow(context.threads, n.rows, [&](int i) {
    std::vector<double> z(n.rows);
    double top = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int j = 0; j < n.rows; j++)
      top = std::max(top, z[j] = n.scale * dot(x + size_t(i) * n.dim, y + size_t(j) * n.dim, n.dim));
    for (double v : z) sum += std::exp(v - top);
    sums[i] = top + std::log(sum);
  });
  return sums;
}

}  // namespace

void infoNce(Context& context, const InfoNce& n) {
  // p(text j | image i) = exp(z_ij - byImage_i), p(image i | text j) = exp(z_ij - byText_j)
  const std::vector<double> byImage = logSums(context, n, n.images, n.texts),
                            byText = logSums(context, n, n.texts, n.images);
  double loss = 0;
  for (int i = 0; i < n.rows; i++)
    loss += byImage[i] + byText[i] -
            2 * n.scale * dot(n.images + size_t(i) * n.dim, n.texts + size_t(i) * n.dim, n.dim);
  *n.loss = loss / (2 * n.rows);
  if (!n.imagesGradient) return;

  // d loss / d z_ij = (p(j | i) + p(i | j) - 2 [i = j]) / (2 rows), where x's rows index one side of z and
  // y's rows the other.
  std::vector<double> ofScale(n.rows);
  const auto gradient = [&](const float* x, const float* y, const std::vector<double>& byX,
                            const std::vector<double>& byY, float* out, bool scale) {
    eachRow(context.threads, n.rows, [&](int i) {
      std::vector<double> sum(n.dim);
      double total = 0;
      for (int j = 0; j < n.rows; j++) {
        const double cosine = dot(x + size_t(i) * n.dim, y + size_t(j) * n.dim, n.dim);
        const double z = n.scale * cosine;
        const double g = (std::exp(z - byX[i]) + std::exp(z - byY[j]) - (i == j ? 2 : 0)) / (2.0 * n.rows);
        for (int k = 0; k < n.dim; k++) sum[k] += g * n.scale * y[size_t(j) * n.dim + k];
        total += g * cosine;
      }
      for (int k = 0; k < n.dim; k++) out[size_t(i) * n.dim + k] = float(sum[k]);
      if (scale) ofScale[i] = total;
    });
  };
  gradient(n.images, n.texts, byImage, byText, n.imagesGradient, true);
  gradient(n.texts, n.images, byText, byImage, n.textsGradient, false);
  *n.scaleGradient = 0;
  for (double v : ofScale) *n.scaleGradient += v;
}

}  // namespace reference
}  // namespace clip
