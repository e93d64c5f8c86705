#pragma once
// L-BFGS: minimises a smooth function of many variables, given its values and gradients (Nocedal and Wright,
// Numerical Optimization, algorithm 7.5), in double.
//
// Line search: strong Wolfe conditions by bracketing and cubic interpolation (algorithms 3.5 and 3.6), and
// the approximate condition of Hager and Zhang (2005) if the difference of two values is only rounding: near
// the minimum, the gradient is still informative when the values no longer are.
#include <functional>
#include <vector>

namespace clip::learn {

using Vector = std::vector<double>;
// Returns the value at x and writes the gradient, which has the same length.
using Objective = std::function<double(const Vector& x, Vector& gradient)>;

struct LbfgsOptions {
  int maxIterations = 1000;
  // Stops when |gradient|^2 / 2 is at most this fraction of the value. For a function with curvature 1 or
  // more (here from the penalty), this bounds how far the value is above the minimum.
  double gap = 1e-12;
  double relativeChange = 0;  // also stops when an iteration lowers the value by less than this fraction
  int memory = 10;            // number of pairs of steps and gradient changes that are kept
};

struct LbfgsResult {
  double value;
  double gradientNorm;
  int iterations;
  bool converged;  // false: maxIterations was reached, or no step lowers the value any more
};

// Starts at x and leaves the minimiser there. `keepGoing` is called before each iteration; if it returns
// false, minimise returns at once.
LbfgsResult minimise(const Objective& objective, Vector& x, const LbfgsOptions& options,
                     const std::function<bool(int iteration, double value)>& keepGoing);

}  // namespace clip::learn
