// y = (x - mean) / sqrt(variance + epsilon) * weight + bias, in two passes over a row that stays in the
// first-level cache: a single pass with E[x^2] - mean^2 would lose digits because of CLIP's outlier channels.

void layerNorm(Context& context, const LayerNorm& l) {
  const float n = float(l.cols);
  shareRowsByWorker(context, l.rows, 4.0 * l.cols, [&](int r, int worker) {
    const float* x = rowOf(l.x, r);
    // int8 needs the whole row before it can write the first byte.
    MatrixView to{.data = outRow(l.y, r), .dtype = l.y.dtype};
    if (l.y.dtype == Dtype::int8)
      to = {.data = context.memory(worker, size_t(l.cols) * sizeof(float)), .dtype = Dtype::float32};
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
      const F v = fma((load(x + i, k) - mean) * scale, load(l.weight + i, k), load(l.bias + i, k));
      storeNumbers(to, 0, size_t(i), v, k);
    }
    if (l.y.dtype == Dtype::int8)
      quantiseRow(rowOf(to, 0), l.cols, outRow<uint8_t>(l.y, r), l.y.rowScale + r, l.y.rowZero + r);
  });
}
