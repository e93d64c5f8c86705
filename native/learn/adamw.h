#pragma once
// AdamW (Loshchilov and Hutter, 2019), computed like torch.optim.AdamW; its learning-rate schedule; and the
// order of the batches.
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace clip::learn {

class AdamW {
 public:
  AdamW(size_t parameters, double epsilon, double weightDecay)
      : epsilon_(epsilon), decay_(weightDecay), mean_(parameters), square_(parameters) {}

  // Takes one step for all parameters: x[i] moves against gradient[i].
  template <class Gradient>  // of numbers that can be indexed
  void step(std::vector<double>& x, const Gradient& gradient, double rate) {
    constexpr double beta1 = 0.9, beta2 = 0.999;
    ++steps_;
    const double first = 1 - std::pow(beta1, steps_), second = std::sqrt(1 - std::pow(beta2, steps_));
    for (size_t i = 0; i < x.size(); ++i) {
      const double g = static_cast<double>(gradient[i]);
      x[i] *= 1 - rate * decay_;
      mean_[i] += (1 - beta1) * (g - mean_[i]);
      square_[i] = beta2 * square_[i] + (1 - beta2) * g * g;
      x[i] -= rate / first * mean_[i] / (std::sqrt(square_[i]) / second + epsilon_);
    }
  }

 private:
  double epsilon_, decay_;
  int steps_ = 0;
  std::vector<double> mean_, square_;
};

// torch.optim.lr_scheduler.CosineAnnealingLR down to 0: the learning rate in step `step` of `steps`.
inline double cosineRate(double rate, int step, int steps) {
  return rate * (1 + std::cos(3.14159265358979323846 * step / steps)) / 2;
}

// Shuffles 0 .. n - 1 anew in each call (Fisher and Yates), the same way on every machine (mulberry32).
class Shuffle {
 public:
  Shuffle(int n, uint32_t seed) : order_(n), state_(seed) { std::iota(order_.begin(), order_.end(), 0); }
  const std::vector<int>& next() {
    for (size_t i = order_.size(); i-- > 1;) std::swap(order_[i], order_[size_t(uniform() * double(i + 1))]);
    return order_;
  }

 private:
  double uniform() {
    state_ += 0x6d2b79f5u;
    uint32_t t = (state_ ^ (state_ >> 15)) * (1 | state_);
    t = (t + (t ^ (t >> 7)) * (61 | t)) ^ t;
    return (t ^ (t >> 14)) / 4294967296.0;
  }
  std::vector<int> order_;
  uint32_t state_;
};

struct Training {
  int epochs, batch;
  double rate, weightDecay;
  uint32_t seed;
};

}  // namespace clip::learn
