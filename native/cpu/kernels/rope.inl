// Rotary position embedding: every pair of neighbours of a head is rotated by its angle.

void rope(Context& context, const Rope& p) {
  shareRows(context, p.rows, 4.0 * p.heads * p.dim, [&](int r) {
    const int position = p.position[r];
    if (position < 0) {
      if (p.x.data != p.y.data)
        __builtin_memcpy(outRow<char>(p.y, r), rowOf<char>(p.x, r),
                         size_t(p.heads) * p.dim * bytesOf(p.x.dtype));
      return;
    }
    const float *cosine = p.table + size_t(position) * 2 * p.dim, *sine = cosine + p.dim;
    for (int h = 0; h < p.heads; h++)
      for (int i = 0; i < p.dim; i += kLanes) {
        const int n = least(kLanes, p.dim - i);
        const size_t at = size_t(h) * p.dim + i;
        const F x = loadNumbers(p.x, r, at, n);
        storeNumbers(p.y, r, at, fma(x, load(cosine + i, n), swapNeighbours(x) * load(sine + i, n)), n);
      }
  });
}
