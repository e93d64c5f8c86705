#include "learn/contrastive.h"

#include <algorithm>
#include <cmath>

#include "learn/products.h"
#include "threads/parallel.h"

namespace clip::learn {
namespace {

// One tower's projection of a batch: turns features into rows of unit length, and their gradient into a step
// of AdamW.
class Projection {
 public:
  Projection(const Side& side, int batch, int embedDim, const Training& training)
      : side_(side),
        dim_(embedDim),
        width_(side.width),
        parameters_(side.projection, side.projection + dim_ * width_),
        adam_(parameters_.size(), 1e-8, training.weightDecay),
        x_(batch * width_),
        rows(batch * dim_),
        gradient(batch * dim_),
        length_(batch),
        ofProjection_(parameters_.size()) {}

  void forward(const Products& products, int threads, const int* order, int n) {
    for (int i = 0; i < n; ++i) {
      const float* from = side_.features + order[i] * width_;
      std::copy(from, from + width_, x_.begin() + i * width_);
    }
    products.byRows(x_.data(), side_.projection, side_.bias, rows.data(), n, side_.width, int(dim_));
    parallel(threads, n, [&](int i, int) {
      float* y = rows.data() + i * dim_;
      double square = 0;
      for (size_t k = 0; k < dim_; ++k) square += double(y[k]) * y[k];
      length_[i] = std::max(std::sqrt(square), 1e-12);
      for (size_t k = 0; k < dim_; ++k) y[k] = float(y[k] / length_[i]);
    });
  }

  // Backward through y = z / |z|: dz = (dy - (dy · y) y) / |z|.
  void backward(const Products& products, int threads, int n, double rate) {
    parallel(threads, n, [&](int i, int) {
      const float* y = rows.data() + i * dim_;
      float* d = gradient.data() + i * dim_;
      double along = 0;
      for (size_t k = 0; k < dim_; ++k) along += double(d[k]) * y[k];
      for (size_t k = 0; k < dim_; ++k) d[k] = float((d[k] - along * y[k]) / length_[i]);
    });
    products.transposed(gradient.data(), x_.data(), ofProjection_.data(), n, int(dim_), side_.width);
    adam_.step(parameters_, ofProjection_, rate);
    std::copy(parameters_.begin(), parameters_.end(), side_.projection);
  }

 private:
  const Side& side_;
  const size_t dim_, width_;
  std::vector<double> parameters_;
  AdamW adam_;
  std::vector<float> x_;

 public:
  std::vector<float> rows, gradient;  // (batch, embedDim)

 private:
  std::vector<double> length_;
  std::vector<float> ofProjection_;
};

}  // namespace

ContrastiveResult adapt(const Contrastive& problem, double logitScale, const Training& training,
                        const Backend& backend, int threads, const std::function<bool()>& keepGoing) {
  const Products products(backend, threads);
  const int batch = std::min(training.batch, problem.pairs);
  const int batches = problem.pairs / batch + (problem.pairs % batch > 1);
  Projection images(problem.images, batch, problem.embedDim, training),
      texts(problem.texts, batch, problem.embedDim, training);
  std::vector<double> logScale{std::log(logitScale)};
  AdamW ofScale(1, 1e-8, 0);  // a temperature gets no weight decay (section 2.5)
  Shuffle shuffle(problem.pairs, training.seed);
  double loss = 0;
  for (int epoch = 0; epoch < training.epochs; ++epoch) {
    const std::vector<int>& order = shuffle.next();
    loss = 0;
    for (int b = 0; b < batches; ++b) {
      if (!keepGoing()) return {NAN, NAN};
      const int first = b * batch, n = std::min(batch, problem.pairs - first);
      images.forward(products, threads, order.data() + first, n);
      texts.forward(products, threads, order.data() + first, n);
      const double scale = std::exp(logScale[0]);
      double value, gradient;
      backend.infoNce(products.context(), {.images = images.rows.data(),
                                           .texts = texts.rows.data(),
                                           .rows = n,
                                           .dim = problem.embedDim,
                                           .scale = static_cast<float>(scale),
                                           .loss = &value,
                                           .imagesGradient = images.gradient.data(),
                                           .textsGradient = texts.gradient.data(),
                                           .scaleGradient = &gradient});
      loss += value / batches;
      const double rate = cosineRate(training.rate, epoch * batches + b, training.epochs * batches);
      images.backward(products, threads, n, rate);
      texts.backward(products, threads, n, rate);
      ofScale.step(logScale, std::vector<double>{gradient * scale}, rate);
      logScale[0] = std::min(logScale[0], std::log(kMostLogitScale));
    }
  }
  return {std::exp(logScale[0]), loss};
}

}  // namespace clip::learn
