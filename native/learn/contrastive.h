#pragma once
// Contrastive adaptation: both projections and the temperature are trained with the symmetric InfoNCE loss of
// the paper (Radford et al., 2021, figure 3) on frozen features of pairs.
//
//   e = normalize(projection · feature + bias), z = exp(s) * images · textsᵀ, s at most log 100 (section 2.5)
#include <functional>

#include "backend.h"
#include "learn/adamw.h"

namespace clip::learn {

struct Side {
  const float* features;  // (pairs, width)
  int width;
  float* projection;  // (embedDim, width), trained in place
  const float* bias;  // (embedDim) or nullptr, not trained
};

struct Contrastive {
  Side images, texts;
  int pairs, embedDim;
};

struct ContrastiveResult {
  double logitScale;
  double loss;  // mean of the batches of the last epoch
};

constexpr double kMostLogitScale = 100;

// A last batch of a single pair is left out, because it has no negatives. `keepGoing` is called before each
// batch.
ContrastiveResult adapt(const Contrastive& problem, double logitScale, const Training& training,
                        const Backend& backend, int threads, const std::function<bool()>& keepGoing);

}  // namespace clip::learn
