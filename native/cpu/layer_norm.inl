// y = (x - mean) / sqrt(variance + epsilon) * weight + bias. Two passes over a row that stays in the
// first-level cache: one pass with E[x^2] - mean^2 loses digits with CLIP's outlier channels.

void layerNorm(Context& context, const LayerNorm& l) {
  const float n = float(l.cols);
  shareRows(context, l.rows, 4.0 * l.cols, [&](int r) {
    const float* x = rowOf(l.x, r);
    float* y = outRow(l.y, r);
    const int whole = l.cols / kLanes * kLanes, rest = l.cols - whole;
    F total = zero();
    for (int i = 0; i < whole; i += kLanes) total = total + load(x + i);
    if (rest) total = total + load(x + whole, rest);
    const F mean = all(sum(total) / n);
    F squares = zero();
    for (int i = 0; i < whole; i += kLanes) {
      const F d = load(x + i) - mean;
      squares = fma(d, d, squares);
    }
    if (rest) {
      const F d = firstLanes(load(x + whole, rest) - mean, rest, zero());
      squares = fma(d, d, squares);
    }
    const F scale = all(1.0f / __builtin_sqrtf(sum(squares) / n + l.epsilon));
    for (int i = 0; i < l.cols; i += kLanes) {
      const int k = least(kLanes, l.cols - i);
      store(y + i, fma((load(x + i, k) - mean) * scale, load(l.weight + i, k), load(l.bias + i, k)), k);
    }
  });
}
