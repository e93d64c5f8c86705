#pragma once
// The loss of a classifier on one sample.
//
// This is not the op softmaxCrossEntropy, whose logits, losses and gradients are float32. Here they are
// double: the line search of L-BFGS compares losses with relative differences of 1e-14, and it must find the
// same minimum on every backend.
#include <algorithm>
#include <cmath>

namespace clip::learn {

// Replaces the logits z (classes) by their softmax; returns the sample's loss.
inline double softmaxLoss(double* z, int classes, int label) {
  const double top = *std::max_element(z, z + classes);
  double sum = 0;
  const double own = z[label] - top;
  for (int k = 0; k < classes; ++k) sum += z[k] = std::exp(z[k] - top);
  for (int k = 0; k < classes; ++k) z[k] /= sum;
  return std::log(sum) - own;
}

}  // namespace clip::learn
