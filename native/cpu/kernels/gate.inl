// The gated hidden layer of an MLP: y = f(a) * b.

template <Gating Kind>
inline void gateRows(Context& context, const Gate& g, double workPerNumber) {
  shareRows(context, g.rows, workPerNumber * g.cols, [&](int r) {
    for (int i = 0; i < g.cols; i += kLanes) {
      const int n = least(kLanes, g.cols - i);
      const F a = loadNumbers(g.a, r, size_t(i), n), b = loadNumbers(g.b, r, size_t(i), n);
      F f;
      if constexpr (Kind == Gating::gelu)
        f = gelu(a);
      else
        f = silu(a);
      storeNumbers(g.y, r, size_t(i), f * b, n);
    }
  });
}

void gate(Context& context, const Gate& g) {
  if (g.activation == Gating::gelu) return gateRows<Gating::gelu>(context, g, 40);
  gateRows<Gating::silu>(context, g, 20);
}
