#include "learn/logistic.h"

#include <algorithm>
#include <cmath>

#include "learn/products.h"
#include "learn/softmax_loss.h"
#include "threads/parallel.h"

namespace clip::learn {
namespace {

constexpr int kSamples = 4, kClasses = 4;  // sums kept in registers: 16 doubles, whatever the instruction set

// The mean of each feature. Both objectives use features with their mean subtracted: since the intercept is
// free, this is the same problem with another intercept, but it needs far fewer iterations (features of a ViT
// have a large common part).
Vector means(const LogisticProblem& p) {
  Vector mean(p.width);
  for (int i = 0; i < p.rows; ++i)
    for (int j = 0; j < p.width; ++j) mean[j] += p.features[static_cast<size_t>(i) * p.width + j];
  for (double& m : mean) m /= p.rows;
  return mean;
}

// Converts the intercepts: to = +1 from original to centred features, -1 back.
void moveIntercepts(Vector& x, const Vector& mean, int classes, double to) {
  const size_t width = mean.size();
  for (int k = 0; k < classes; ++k) {
    double* w = x.data() + k * (width + 1);
    for (size_t j = 0; j < width; ++j) w[width] += to * w[j] * mean[j];
  }
}

// The common part of both objectives: chunks of samples, each with a loss and a gradient of its own, which
// are added in order, so that the result does not depend on which thread computed what.
class Problem {
 public:
  Problem(const LogisticProblem& p, int threads) : p_(p), threads_(threads) {
    // As many chunks as threads can use, but limited because each needs memory for a gradient.
    chunks_ = std::clamp(p.rows / 64, 1, 16);
  }

 protected:
  size_t stride() const { return static_cast<size_t>(p_.width) + 1; }
  int from(int chunk) const { return static_cast<int>(int64_t{p_.rows} * chunk / chunks_); }

  double penalty(const Vector& x, Vector& gradient) const {
    double sum = 0;
    for (int k = 0; k < p_.classes; ++k)
      for (int j = 0; j < p_.width; ++j) {
        const double w = x[k * stride() + j];
        sum += w * w;
        gradient[k * stride() + j] = w;
      }
    for (int k = 0; k < p_.classes; ++k) gradient[k * stride() + p_.width] = 0;
    return sum / 2;
  }

  const LogisticProblem& p_;
  const int threads_;
  int chunks_;
};

class InDouble : Problem {
 public:
  InDouble(const LogisticProblem& p, const Vector& mean, int threads)
      : Problem(p, threads), centred_(static_cast<size_t>(p.rows) * p.width), parts_(chunks_) {
    for (size_t i = 0; i < centred_.size(); ++i) centred_[i] = p.features[i] - mean[i % mean.size()];
  }

  double operator()(const Vector& x, Vector& gradient) {
    parallel(threads_, chunks_, [&](int chunk, int) { chunkOf(chunk, x); });
    double loss = penalty(x, gradient);
    for (const Part& part : parts_) loss += p_.c * part.loss;
    const int slices = std::max(1, std::min(threads_ * 2, p_.classes));
    parallel(threads_, slices, [&](int slice, int) {
      const size_t a = gradient.size() * slice / slices, b = gradient.size() * (slice + 1) / slices;
      for (const Part& part : parts_)
        for (size_t i = a; i < b; ++i) gradient[i] += p_.c * part.gradient[i];
    });
    return loss;
  }

 private:
  struct Part {
    double loss;
    Vector gradient;
  };

  void chunkOf(int chunk, const Vector& x) {
    Part& part = parts_[chunk];
    part.gradient.assign(x.size(), 0);
    part.loss = 0;
    Vector z(static_cast<size_t>(kSamples) * p_.classes);
    for (int first = from(chunk), end = from(chunk + 1); first < end; first += kSamples) {
      const int n = std::min(kSamples, end - first);
      logits(first, n, x, z.data());
      for (int i = 0; i < n; ++i) {
        double* row = z.data() + static_cast<size_t>(i) * p_.classes;
        part.loss += softmaxLoss(row, p_.classes, p_.labels[first + i]);
        row[p_.labels[first + i]] -= 1;
      }
      addGradient(first, n, z.data(), part.gradient.data());
    }
  }

  const double* sample(int i) const { return centred_.data() + static_cast<size_t>(i) * p_.width; }

  void logits(int first, int n, const Vector& x, double* z) const {
    const int width = p_.width, classes = p_.classes;
    for (int k0 = 0; k0 < classes; k0 += kClasses) {
      const int m = std::min(kClasses, classes - k0);
      const double* w[kClasses];
      const double* s[kSamples];
      for (int k = 0; k < kClasses; ++k) w[k] = x.data() + (k0 + std::min(k, m - 1)) * stride();
      for (int i = 0; i < kSamples; ++i) s[i] = sample(first + std::min(i, n - 1));
      double sum[kSamples][kClasses] = {};
      for (int j = 0; j < width; ++j)
        for (int i = 0; i < kSamples; ++i)
          for (int k = 0; k < kClasses; ++k) sum[i][k] += s[i][j] * w[k][j];
      for (int i = 0; i < n; ++i)
        for (int k = 0; k < m; ++k) z[static_cast<size_t>(i) * classes + k0 + k] = sum[i][k] + w[k][width];
    }
  }

  void addGradient(int first, int n, const double* d, double* gradient) const {
    const int width = p_.width;
    for (int k = 0; k < p_.classes; ++k) {
      double v[kSamples] = {};
      const double* s[kSamples];
      for (int i = 0; i < kSamples; ++i) {
        s[i] = sample(first + std::min(i, n - 1));
        if (i < n) v[i] = d[static_cast<size_t>(i) * p_.classes + k];
      }
      double* g = gradient + k * stride();
      for (int j = 0; j < width; ++j) {
        double sum = 0;
        for (int i = 0; i < kSamples; ++i) sum += v[i] * s[i][j];
        g[j] += sum;
      }
      for (int i = 0; i < n; ++i) g[width] += v[i];
    }
  }

  Vector centred_;
  std::vector<Part> parts_;
};

// The same objective with both products (logits, and the gradient of the weights) in float32.
class OnBackend : Problem {
 public:
  OnBackend(const LogisticProblem& p, const Vector& mean, const Backend& backend, int threads)
      : Problem(p, threads),
        products_(backend, threads),
        centred_(static_cast<size_t>(p.rows) * p.width),
        features_(backend, backend.packedSize(Dtype::float32, p.rows, p.width)),
        weight_(backend, backend.packedSize(Dtype::float32, p.width, p.classes)),
        z_(static_cast<size_t>(p.rows) * p.classes),
        zT_(z_.size()),
        w_(static_cast<size_t>(p.classes) * p.width),
        bias_(p.classes),
        loss_(chunks_) {
    for (int i = 0; i < p.rows; ++i)
      for (int j = 0; j < p.width; ++j)
        centred_[static_cast<size_t>(i) * p.width + j] =
            static_cast<float>(p.features[static_cast<size_t>(i) * p.width + j] - mean[j]);
    // Packed in several steps, because a third copy of all features would make up most of a fit's memory.
    const int step = backend.packRows;
    std::vector<float> some(static_cast<size_t>(p.rows) * std::min(p.width, step));
    for (int first = 0; first < p.width; first += step) {
      const int count = std::min(step, p.width - first);
      for (int i = 0; i < p.rows; ++i)
        for (int j = 0; j < count; ++j)
          some[static_cast<size_t>(j) * p.rows + i] = centred_[static_cast<size_t>(i) * p.width + first + j];
      products_.packRows(features_.data(), some.data(), p.rows, p.width, first, count);
    }
  }

  double operator()(const Vector& x, Vector& gradient) {
    const int rows = p_.rows, width = p_.width, classes = p_.classes;
    for (int k = 0; k < classes; ++k) {
      for (int j = 0; j < width; ++j)
        w_[static_cast<size_t>(k) * width + j] = static_cast<float>(x[k * stride() + j]);
      bias_[k] = static_cast<float>(x[k * stride() + width]);
    }
    products_.pack(weight_.data(), w_.data(), width, classes);
    products_.multiply(centred_.data(), weight_.data(), bias_.data(), z_.data(), rows, width, classes);
    double loss = penalty(x, gradient);
    parallel(threads_, chunks_, [&](int chunk, int) {
      Vector z(classes);
      loss_[chunk] = 0;
      for (int i = from(chunk); i < from(chunk + 1); ++i) {
        const float* row = z_.data() + static_cast<size_t>(i) * classes;
        std::copy(row, row + classes, z.begin());
        loss_[chunk] += softmaxLoss(z.data(), classes, p_.labels[i]);
        z[p_.labels[i]] -= 1;
        for (int k = 0; k < classes; ++k) zT_[static_cast<size_t>(k) * rows + i] = static_cast<float>(z[k]);
      }
    });
    for (double part : loss_) loss += p_.c * part;
    products_.multiply(zT_.data(), features_.data(), nullptr, w_.data(), classes, rows, width);
    for (int k = 0; k < classes; ++k) {
      for (int j = 0; j < width; ++j)
        gradient[k * stride() + j] += p_.c * static_cast<double>(w_[static_cast<size_t>(k) * width + j]);
      double sum = 0;
      for (int i = 0; i < rows; ++i) sum += static_cast<double>(zT_[static_cast<size_t>(k) * rows + i]);
      gradient[k * stride() + width] += p_.c * sum;
    }
    return loss;
  }

 private:
  const Products products_;
  std::vector<float> centred_;
  const BackendBuffer features_, weight_;
  std::vector<float> z_, zT_, w_, bias_;
  Vector loss_;
};

}  // namespace

LogisticResult fitLogistic(const LogisticProblem& problem, const Backend& backend, int threads,
                           Vector& parameters, const std::function<bool()>& keepGoing) {
  const auto ask = [&](int, double) { return keepGoing(); };
  const Vector mean = means(problem);
  moveIntercepts(parameters, mean, problem.classes, 1);
  int before = 0;
  const double work = double(problem.rows) * problem.width * problem.classes;
  if (work > 2e6) {
    OnBackend fast(problem, mean, backend, threads);
    const LbfgsOptions rough{.maxIterations = problem.maxIterations, .relativeChange = 1e-6};
    before =
        minimise([&](const Vector& x, Vector& g) { return fast(x, g); }, parameters, rough, ask).iterations;
  }
  InDouble exact(problem, mean, threads);
  const LbfgsOptions options{.maxIterations = problem.maxIterations - before};
  const LbfgsResult r =
      minimise([&](const Vector& x, Vector& g) { return exact(x, g); }, parameters, options, ask);
  moveIntercepts(parameters, mean, problem.classes, -1);
  return {r.value, r.gradientNorm, before + r.iterations, r.converged};
}

}  // namespace clip::learn
