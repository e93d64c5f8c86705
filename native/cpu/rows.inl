// The ops that move rows: embed, gather, patches.

void embed(Context& context, const Embed& e) {
  shareRows(context, e.rows, 4.0 * e.cols, [&](int r) {
    const char* row = static_cast<const char*>(e.table) + size_t(e.ids[r]) * e.tableStride;
    const float* position = e.positions + size_t(e.position[r]) * e.cols;
    float* y = outRow(e.y, r);
    if (e.tableDtype != Dtype::float32) {
      for (int c = 0; c < e.cols; c++) y[c] = widen(row, e.tableDtype, c) + position[c];
      return;
    }
    for (int c = 0; c < e.cols; c += kLanes) {
      const int n = least(kLanes, e.cols - c);
      store(y + c, load(reinterpret_cast<const float*>(row) + c, n) + load(position + c, n), n);
    }
  });
}

void gather(Context& context, const Gather& g) {
  shareRows(context, g.count, g.cols, [&](int i) {
    __builtin_memmove(outRow(g.y, i), rowOf(g.x, g.row[i]), size_t(g.cols) * sizeof(float));
  });
}

void patches(Context& context, const Patches& p) {
  const int grid = p.size / p.patch, area = p.patch * p.patch;
  shareRows(context, p.images * grid * grid, 6.0 * area, [&](int r) {
    const int image = r / (grid * grid), top = r / grid % grid * p.patch, left = r % grid * p.patch;
    float* y = outRow(p.y, r);
    for (int c = 0; c < 3; c++)
      for (int i = 0; i < p.patch; i++, y += p.patch) {
        if (!p.pixels) {
          const float* from = p.planes + ((size_t(image) * 3 + c) * p.size + top + i) * p.size + left;
          __builtin_memcpy(y, from, size_t(p.patch) * sizeof(float));
          continue;
        }
        const float* value = p.value + c * 256;
        const uint8_t* from = p.pixels + ((size_t(image) * p.size + top + i) * p.size + left) * 3 + c;
        for (int j = 0; j < p.patch; j++) y[j] = value[from[size_t(j) * 3]];
      }
  });
}
