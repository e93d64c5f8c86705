#pragma once
// L-BFGS: minimises a smooth function of many numbers from its values and gradients (Nocedal and Wright,
// Numerical Optimization, algorithm 7.5), in double.
//
// Line search: strong Wolfe conditions by bracketing and cubic interpolation (algorithms 3.5 and 3.6), and
// the approximate condition of Hager and Zhang (2005) where the difference of two values is rounding: near
// the minimum the gradient still tells what the values no longer can.
#include <functional>
#include <vector>

namespace clip::learn {

using Vector = std::vector<double>;
// Value at x; writes the gradient, of the same length.
using Objective = std::function<double(const Vector& x, Vector& gradient)>;

struct LbfgsOptions {
  int maxIterations = 1000;
  // Stops when |gradient|^2 / 2 is at most this part of the value. Of a function with curvature 1 or more
  // (here: the penalty's) that is a bound of how far the value is above the minimum.
  double gap = 1e-12;
  double relativeChange = 0;  // or when an iteration lowers the value by less than this part of it
  int memory = 10;            // pairs of steps and gradient changes that are kept
};

struct LbfgsResult {
  double value;
  double gradientNorm;
  int iterations;
  bool converged;  // false: maxIterations, or no step lowers the value any more
};

// Starts at x and leaves the minimiser there. `keepGoing` is asked before each iteration: false ends at once.
LbfgsResult minimise(const Objective& objective, Vector& x, const LbfgsOptions& options,
                     const std::function<bool(int iteration, double value)>& keepGoing);

}  // namespace clip::learn
