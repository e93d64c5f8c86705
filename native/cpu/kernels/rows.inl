// The ops that copy or convert rows: cast, embed, gather, patches.

void cast(Context& context, const Cast& c) {
  shareRows(context, c.rows, 4.0 * c.cols, [&](int r) {
    if (c.y.dtype == Dtype::int8)
      return quantiseRow(rowOf(c.x, r), c.cols, outRow<uint8_t>(c.y, r), c.y.rowScale + r, c.y.rowZero + r);
    for (int i = 0; i < c.cols; i += kLanes) {
      const int n = least(kLanes, c.cols - i);
      storeNumbers(c.y, r, size_t(i), load(rowOf(c.x, r) + i, n), n);
    }
  });
}

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

// y[i] = value[from[i * 3]]: looks up n pixels of one channel in a table that has the dtype of y.
template <class T>
inline void lookUp(const T* value, const uint8_t* from, int n, T* y) {
  for (int i = 0; i < n; i++) y[i] = value[from[size_t(i) * 3]];
}

void patches(Context& context, const Patches& p) {
  const int grid = p.size / p.patch, area = p.patch * p.patch;
  const bool narrow = p.y.dtype == Dtype::bfloat16;
  uint16_t narrowValue[3 * 256];
  if (p.pixels && narrow)
    for (int i = 0; i < 3 * 256; i += kLanes) storeBfloat16(narrowValue + i, load(p.value + i), kLanes);
  // Patches of a single pixel, as a ResNet uses them: row r is pixel r.
  if (p.patch == 1) {
    const size_t plane = size_t(p.size) * p.size;
    return shareRows(context, p.images * grid * grid, 6.0, [&](int r) {
      const float* planes = p.pixels ? nullptr : p.planes + size_t(r) / plane * 3 * plane + size_t(r) % plane;
      for (int c = 0; c < 3; c++) {
        const int level = p.pixels ? c * 256 + p.pixels[size_t(r) * 3 + c] : 0;
        if (!narrow)
          outRow(p.y, r)[c] = p.pixels ? p.value[level] : planes[c * plane];
        else if (p.pixels)
          outRow<uint16_t>(p.y, r)[c] = narrowValue[level];
        else
          storeBfloat16(outRow<uint16_t>(p.y, r) + c, load(planes + c * plane, 1), 1);
      }
    });
  }
  shareRows(context, p.images * grid * grid, 6.0 * area, [&](int r) {
    const int image = r / (grid * grid), top = r / grid % grid * p.patch, left = r % grid * p.patch;
    for (int c = 0; c < 3; c++)
      for (int i = 0; i < p.patch; i++) {
        const size_t at = size_t(c) * area + size_t(i) * p.patch;
        if (!p.pixels) {
          const float* from = p.planes + ((size_t(image) * 3 + c) * p.size + top + i) * p.size + left;
          for (int j = 0; j < p.patch; j += kLanes) {
            const int n = least(kLanes, p.patch - j);
            storeNumbers(p.y, r, at + j, load(from + j, n), n);
          }
          continue;
        }
        const uint8_t* from = p.pixels + ((size_t(image) * p.size + top + i) * p.size + left) * 3 + c;
        if (narrow)
          lookUp(narrowValue + c * 256, from, p.patch, outRow<uint16_t>(p.y, r) + at);
        else
          lookUp(p.value + c * 256, from, p.patch, outRow(p.y, r) + at);
      }
  });
}
