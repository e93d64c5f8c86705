#pragma once
// Tip-Adapter-F (Zhang et al., 2022): the keys of the cache model are trained as parameters.
//
//   logits = scale * x · classesᵀ + alpha * sum over keys k of exp(-beta (1 - x · key_k)) [class of k]
//
// Cross entropy on batches, AdamW (epsilon 1e-4, as published), and a learning rate that falls to 0 along a
// cosine. The published code augments the images anew in each epoch; here the features are frozen.
#include <functional>

#include "backend.h"
#include "learn/adamw.h"

namespace clip::learn {

struct TipAdapter {
  const float* features;  // (rows, dim), length 1
  const int32_t* labels;  // (rows), in [0, classCount)
  const float* classes;   // (classCount, dim), length 1
  const int32_t* owners;  // (keyCount), in [0, classCount)
  int rows, dim, classCount, keyCount;
  double scale, alpha, beta;
};

// Trains keys (keyCount, dim) in place; returns the mean loss of the last epoch. `keepGoing` is called before
// each batch.
double fineTune(const TipAdapter& t, const Training& training, const Backend& backend, int threads,
                float* keys, const std::function<bool()>& keepGoing);

}  // namespace clip::learn
