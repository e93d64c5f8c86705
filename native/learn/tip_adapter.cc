#include "learn/tip_adapter.h"

#include <algorithm>
#include <cmath>

#include "learn/products.h"
#include "learn/softmax_loss.h"
#include "threads/parallel.h"

namespace clip::learn {

double fineTune(const TipAdapter& t, const Training& training, const Backend& backend, int threads,
                float* keys, const std::function<bool()>& keepGoing) {
  const Products products(backend, threads);
  const size_t dim = t.dim, count = t.keyCount;
  const int batch = std::min(training.batch, t.rows), batches = (t.rows + batch - 1) / batch;
  const int steps = training.epochs * batches;
  std::vector<double> parameters(keys, keys + count * dim);
  AdamW adam(parameters.size(), 1e-4, training.weightDecay);
  Shuffle shuffle(t.rows, training.seed);
  std::vector<float> x(batch * dim), base(static_cast<size_t>(batch) * t.classCount), affinity(batch * count),
      gradient(count * dim);
  std::vector<double> losses(t.rows);
  for (int epoch = 0; epoch < training.epochs; ++epoch) {
    const std::vector<int>& order = shuffle.next();
    for (int b = 0; b < batches; ++b) {
      if (!keepGoing()) return NAN;
      const int first = b * batch, n = std::min(batch, t.rows - first);
      for (int i = 0; i < n; ++i) {
        const float* from = t.features + order[first + i] * dim;
        std::copy(from, from + dim, x.begin() + i * dim);
      }
      products.byRows(x.data(), t.classes, nullptr, base.data(), n, t.dim, t.classCount);
      products.byRows(x.data(), keys, nullptr, affinity.data(), n, t.dim, t.keyCount);
      // Turns the affinities of each row into d loss / d affinity.
      parallel(threads, n, [&](int i, int) {
        float* row = affinity.data() + i * count;
        std::vector<double> z(t.classCount), weight(count);
        for (int c = 0; c < t.classCount; ++c)
          z[c] = t.scale * base[static_cast<size_t>(i) * t.classCount + c];
        for (size_t k = 0; k < count; ++k)
          z[t.owners[k]] += weight[k] = t.alpha * std::exp(-t.beta * (1 - double(row[k])));
        const int label = t.labels[order[first + i]];
        losses[first + i] = softmaxLoss(z.data(), t.classCount, label);
        for (size_t k = 0; k < count; ++k)
          row[k] = float((z[t.owners[k]] - (t.owners[k] == label)) * weight[k] * t.beta / n);
      });
      products.transposed(affinity.data(), x.data(), gradient.data(), n, t.keyCount, t.dim);
      adam.step(parameters, gradient, cosineRate(training.rate, epoch * batches + b, steps));
      std::copy(parameters.begin(), parameters.end(), keys);
    }
  }
  double loss = 0;
  for (double v : losses) loss += v;
  return loss / t.rows;
}

}  // namespace clip::learn
