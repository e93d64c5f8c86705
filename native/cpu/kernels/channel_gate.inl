// The gate of a squeeze-and-excitation block: one number per channel and image.

void channelGate(Context& context, const ChannelGate& g) {
  const bool isGelu = g.activation == Activation::gelu;
  shareRows(context, g.rows, (isGelu ? 20.0 : 2.0) * g.cols, [&](int r) {
    const float *x = rowOf(g.x, r), *gate = rowOf(g.gate, r / g.rowsPerGate);
    for (int c = 0; c < g.cols; c += kLanes) {
      const int n = least(kLanes, g.cols - c);
      const F v = load(x + c, n) * load(gate + c, n);
      storeNumbers(g.y, r, size_t(c), isGelu ? gelu(v) : v, n);
    }
  });
}
