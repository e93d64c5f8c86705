#include "learn/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <deque>

namespace clip::learn {
namespace {

constexpr double kDecrease = 1e-4, kCurvature = 0.9;  // c1 and c2 of the Wolfe conditions
constexpr double kRounding = 1e-14;  // relative to a value: smaller differences are rounding errors

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// y += scale * x
void add(Vector& y, double scale, const Vector& x) {
  for (size_t i = 0; i < y.size(); ++i) y[i] += scale * x[i];
}

struct Pair {
  Vector step, change;
  double curvature;  // step · change > 0
};

// The direction - H g, where H is defined by the kept pairs (the two-loop recursion).
Vector direction(const std::deque<Pair>& pairs, const Vector& gradient) {
  Vector d = gradient;
  std::vector<double> alpha(pairs.size());
  for (size_t i = pairs.size(); i-- > 0;) {
    alpha[i] = dot(pairs[i].step, d) / pairs[i].curvature;
    add(d, -alpha[i], pairs[i].change);
  }
  if (!pairs.empty()) {
    const Pair& last = pairs.back();
    const double scale = last.curvature / dot(last.change, last.change);
    for (double& v : d) v *= scale;
  }
  for (size_t i = 0; i < pairs.size(); ++i)
    add(d, alpha[i] - dot(pairs[i].change, d) / pairs[i].curvature, pairs[i].step);
  for (double& v : d) v = -v;
  return d;
}

// One point of the line x + length * d.
struct Point {
  double length, value, slope;
};

// The minimum of the cubic through the values and slopes at both ends, restricted to the middle 80 % of the
// interval.
double interpolate(const Point& a, const Point& b) {
  const double d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.length - b.length);
  const double root = d1 * d1 - a.slope * b.slope;
  double at = 0.5 * (a.length + b.length);
  if (root >= 0) {
    const double d2 = std::copysign(std::sqrt(root), b.length - a.length);
    const double cubic =
        b.length - (b.length - a.length) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2));
    if (std::isfinite(cubic)) at = cubic;
  }
  const double low = std::min(a.length, b.length), width = std::abs(a.length - b.length);
  return std::clamp(at, low + 0.1 * width, low + 0.9 * width);
}

class Line {
 public:
  Line(const Objective& objective, const Vector& from, const Vector& direction, Point start)
      : objective_(objective),
        from_(from),
        direction_(direction),
        start_(start),
        x(from.size()),
        gradient(from.size()) {}

  // Leaves x and gradient at the accepted point. Returns false if no acceptable point was found.
  bool search(double first, Point& found) {
    Point before = start_;
    double length = first;
    for (int i = 0; i < 30; ++i) {
      const Point p = at(length);
      if (accepted(p)) return found = p, true;
      if (!std::isfinite(p.value) || !decreases(p) || (i > 0 && p.value >= before.value && !flat(p)))
        return zoom(before, p, found);
      if (p.slope >= 0) return zoom(p, before, found);
      before = p;
      length *= 2.5;
    }
    return false;
  }

 private:
  bool flat(const Point& p) const {
    return std::abs(p.value - start_.value) <= kRounding * std::abs(start_.value);
  }
  bool decreases(const Point& p) const {
    return p.value <= start_.value + kDecrease * p.length * start_.slope || flat(p);
  }
  bool accepted(const Point& p) const {
    if (!std::isfinite(p.value) || !std::isfinite(p.slope)) return false;
    if (flat(p)) return p.slope >= kCurvature * start_.slope && p.slope <= (2 * kDecrease - 1) * start_.slope;
    return decreases(p) && std::abs(p.slope) <= -kCurvature * start_.slope;
  }

  // `low` has the smallest value so far; the interval to `high` contains an acceptable point.
  bool zoom(Point low, Point high, Point& found) {
    for (int i = 0; i < 30; ++i) {
      const double length = std::isfinite(high.value) && std::isfinite(high.slope)
                                ? interpolate(low, high)
                                : 0.5 * (low.length + high.length);
      const Point p = at(length);
      if (accepted(p)) return found = p, true;
      if (!std::isfinite(p.value) || !decreases(p) || (p.value >= low.value && !flat(p))) {
        high = p;
      } else {
        if (p.slope * (high.length - low.length) >= 0) high = low;
        low = p;
      }
    }
    // The point does not satisfy the conditions, but it is lower than the start.
    if (!(low.value < start_.value)) return false;
    found = at(low.length);
    return true;
  }

  Point at(double length) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = from_[i] + length * direction_[i];
    const double value = objective_(x, gradient);
    return {length, value, dot(gradient, direction_)};
  }

  const Objective& objective_;
  const Vector &from_, &direction_;
  const Point start_;

 public:
  Vector x, gradient;
};

}  // namespace

LbfgsResult minimise(const Objective& objective, Vector& x, const LbfgsOptions& options,
                     const std::function<bool(int, double)>& keepGoing) {
  Vector gradient(x.size());
  double value = objective(x, gradient);
  std::deque<Pair> pairs;
  int iteration = 0;
  bool converged = false;
  for (;; ++iteration) {
    const double square = dot(gradient, gradient), norm = std::sqrt(square);
    converged = square / 2 <= options.gap * std::abs(value);
    if (converged || !std::isfinite(value) || iteration == options.maxIterations) break;
    if (!keepGoing(iteration, value)) break;
    Vector d = direction(pairs, gradient);
    double slope = dot(d, gradient);
    if (!(slope < 0)) {  // rounding errors have spoilt the pairs: restart from the gradient
      pairs.clear();
      d = direction(pairs, gradient);
      slope = dot(d, gradient);
    }
    Line line(objective, x, d, {0, value, slope});
    Point found;
    if (!line.search(pairs.empty() ? std::min(1.0, 1 / norm) : 1, found)) {
      if (pairs.empty()) break;
      pairs.clear();
      continue;
    }
    Pair pair{line.x, line.gradient, 0};
    add(pair.step, -1, x);
    add(pair.change, -1, gradient);
    pair.curvature = dot(pair.step, pair.change);
    const double change = value - found.value;
    x = line.x;
    gradient = line.gradient;
    value = found.value;
    if (pair.curvature > 1e-12 * dot(pair.change, pair.change) * 1e-6) {
      pairs.push_back(std::move(pair));
      if (static_cast<int>(pairs.size()) > options.memory) pairs.pop_front();
    }
    if (options.relativeChange > 0 && change < options.relativeChange * std::abs(value)) {
      ++iteration;
      converged = true;
      break;
    }
  }
  return {value, std::sqrt(dot(gradient, gradient)), iteration, converged};
}

}  // namespace clip::learn
