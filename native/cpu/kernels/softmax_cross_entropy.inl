// The cross entropy of rows of logits, and its gradient, in two passes over the columns. The first finds the
// largest logit and the sum of the exponentials, with an online softmax on blocks that stay in the
// first-level cache. The second writes the gradient as it is computed.

constexpr int kLogitBlock = 1024;  // columns

void softmaxCrossEntropy(Context& context, const SoftmaxCrossEntropy& s) {
  const float least_ = -__builtin_inff();
  shareRows(context, s.rows, 30.0 * s.cols, [&](int r) {
    const bool gradient = s.gradient.data != nullptr;
    const int target = s.target[r];
    if (target < 0) {  // this row does not count
      s.loss[r] = 0;
      for (int j = 0; gradient && j < s.cols; j += kLanes)
        storeNumbers(s.gradient, r, size_t(j), zero(), least(kLanes, s.cols - j));
      return;
    }
    float largest = least_, exponentials = 0;
    for (int first = 0; first < s.cols; first += kLogitBlock) {
      const int end = least(first + kLogitBlock, s.cols);
      F most = all(largest);
      for (int j = first; j < end; j += kLanes) {
        const int n = least(kLanes, end - j);
        most = larger(firstLanes(loadNumbers(s.x, r, size_t(j), n), n, most), most);
      }
      const float before = largest;
      largest = top(most);
      // If every logit is -infinity, subtracting the largest would give NaN; subtracting 0 gives exponentials
      // of 0.
      const F subtract = all(largest == least_ ? 0 : largest);
      F total = zero();
      for (int j = first; j < end; j += kLanes) {
        const int n = least(kLanes, end - j);
        total = total + firstLanes(exponential(loadNumbers(s.x, r, size_t(j), n) - subtract), n, zero());
      }
      if (before != largest) exponentials = exponentials * exponential(before - largest);
      exponentials = exponentials + sum(total);
    }
    const F inverse = all(1 / exponentials), shift = all(largest), scale = all(s.scale);
    const F own = loadNumbers(s.x, r, size_t(target), 1);
    float logit[kLanes];
    store(logit, own);
    s.loss[r] = float(double(largest) - double(logit[0]) + __builtin_log(double(exponentials)));
    if (!gradient) return;
    const F ofTarget = (exponential(own - shift) * inverse - all(1)) * scale;
    for (int j = 0; j < s.cols; j += kLanes) {
      const int n = least(kLanes, s.cols - j);
      const F p = exponential(loadNumbers(s.x, r, size_t(j), n) - shift) * inverse;
      storeNumbers(s.gradient, r, size_t(j), p * scale, n);
    }
    storeNumbers(s.gradient, r, size_t(target), ofTarget, 1);
  });
}
