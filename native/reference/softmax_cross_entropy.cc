// The cross entropy of rows of logits and its gradient in plain loops, in double.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "threads/context.h"
#include "reference/reference.h"

namespace clip::reference {

// loss = log(sum_j exp(x_j)) - x_target; d loss / d x_j = exp(x_j) / sum_i exp(x_i) - [j == target]:
// torch.nn.functional.cross_entropy. Subtracting the largest logit first changes neither.
void softmaxCrossEntropy(Context& context, const SoftmaxCrossEntropy& s) {
  eachRow(context.threads, s.rows, [&](int r) {
    const int target = s.target[r];
    std::vector<double> x(s.cols);
    double top = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int j = 0; j < s.cols; j++) top = std::max(top, x[j] = number(s.x, r, j));
    for (int j = 0; j < s.cols; j++) sum += std::exp(x[j] - top);
    s.loss[r] = target < 0 ? 0 : float(top - x[target] + std::log(sum));
    if (!s.gradient.data) return;
    for (int j = 0; j < s.cols; j++)
      put(s.gradient, r, j, target < 0 ? 0 : s.scale * (std::exp(x[j] - top) / sum - (j == target)));
  });
}

}  // namespace clip::reference
