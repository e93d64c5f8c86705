#pragma once
// Multinomial logistic regression: the linear probe of the paper (Radford et al., 2021, appendix A.3),
// defined as in scikit-learn's LogisticRegression(solver='lbfgs'):
//
//   minimise  1/2 |W|^2 + C * sum over samples of ( log sum_k exp(z_k) - z_label ),  z = W x + b
//
// The intercept b is not penalised.
#include <cstdint>
#include <functional>

#include "backend.h"
#include "learn/lbfgs.h"

namespace clip::learn {

struct LogisticProblem {
  const float* features;  // (rows, width), dense
  const int32_t* labels;  // (rows), each in [0, classes)
  int rows, width, classes;
  double c;  // inverse of the regularisation strength, > 0
  int maxIterations = 1000;
};

struct LogisticResult {
  double loss;  // value of the objective
  double gradientNorm;
  int iterations;
  bool converged;
};

// `parameters` is (classes, width + 1), with the intercept last: the starting point on input, the minimiser
// on output. Large problems run most iterations in float32 with the backend's matrix product; the last steps,
// and small problems entirely, run in double, so that the result does not depend on the backend's rounding.
// `keepGoing` is called before each iteration.
LogisticResult fitLogistic(const LogisticProblem& problem, const Backend& backend, int threads,
                           Vector& parameters, const std::function<bool()>& keepGoing);

}  // namespace clip::learn
