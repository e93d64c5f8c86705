// Packs weights (out, in) as [out / kCols][in / group][kCols][group], where a group of inputs takes 4 bytes.
// All arithmetics of a dtype share this layout, so that the packed bytes do not depend on the features of the
// CPU. For int8, a scale and a sum of bytes per column follow. The last panel and the last group are padded
// with zeros.
//
// float16: [out / kCols][in][kCols].
//
//   ladder, float32: plain loops over kCols rows at a time 9.3 GB/s, kept; 16 x 16 register transposes 5.1.

constexpr int kPackSteps = 64;

size_t packedSize(Dtype d, int in, int out) {
  return panelsBytes(d, in, out) + (d == Dtype::int8 ? size_t(roundUp(out, kCols)) * 8 : 0);
}

// The scale of a row of weights; NaN if a weight is not finite.
inline float weightScale(const float* w, int in) {
  F most = zero(), spoilt = zero();
  for (int i = 0; i < in; i += kLanes) {
    const F v = load(w + i, least(kLanes, in - i));
    most = larger(absolute(v), most);
    spoilt = spoilt + (v - v);
  }
  return scaleOf(0, top(most), 127.0f, sum(spoilt));
}

// Rounds w * inverse to bytes and returns their sum.
inline int32_t quantiseWeights(const float* w, int n, float inverse, int8_t* to) {
  I total = allInt(0);
  for (int i = 0; i < n; i += kLanes) {
    const int count = least(kLanes, n - i);
    const F v = load(w + i, count) * all(inverse);
    const I q = rounded(smaller(larger(v, all(-127.0f)), all(127.0f)));
    storeSigned(to + i, q, count);
    total = add(total, q);  // lanes past the end are 0
  }
  alignas(64) int32_t lanes[kLanes];
  __builtin_memcpy(lanes, &total, sizeof(total));
  int32_t sum = 0;
  for (int i = 0; i < kLanes; i++) sum += lanes[i];
  return sum;
}

// Packs n rows; row c of the panel begins at rows + c * stride. Returns false if float16 cannot represent a
// weight exactly.
bool packFloat16(const float* rows, size_t stride, int n, int in, uint16_t* dst) {
  alignas(64) uint16_t narrow[kCols][kLanes] = {};
  bool exact = true;
  for (int k = 0; k < in; k += kLanes) {
    const int count = least(kLanes, in - k);
    for (int c = 0; c < n; c++)
      exact = storeFloat16(narrow[c], load(rows + size_t(c) * stride + k, count)) && exact;
    for (int i = 0; i < count; i++, dst += kCols)
      for (int c = 0; c < kCols; c++) dst[c] = narrow[c][i];
  }
  return exact;
}

bool pack(const Pack& p) {
  bool exact = true;
  const int group = groupOf(p.dtype), steps = (p.in + group - 1) / group;
  char* const columns = static_cast<char*>(p.dst) + panelsBytes(p.dtype, p.in, p.out);
  for (int first = 0; first < p.rowCount; first += kCols) {
    const int n = least(kCols, p.rowCount - first), column = p.firstRow + first;
    const float* rows = p.rows + size_t(first) * p.rowStride;
    float* dst =
        reinterpret_cast<float*>(static_cast<char*>(p.dst) + column / kCols * panelBytes(p.dtype, p.in));
    if (p.dtype == Dtype::float32) {
      for (int k = 0; k < p.in; k++, dst += kCols)
        for (int c = 0; c < kCols; c++) dst[c] = c < n ? rows[size_t(c) * p.rowStride + k] : 0.0f;
      continue;
    }
    if (p.dtype == Dtype::float16) {
      exact = packFloat16(rows, p.rowStride, n, p.in, reinterpret_cast<uint16_t*>(dst)) && exact;
      continue;
    }
    // Converts a stretch of each row at a time, then moves 4 bytes at a time as above.
    alignas(64) float narrow[kCols][kPackSteps];
    float inverse[kCols];
    float* const scales = reinterpret_cast<float*>(columns) + column;
    int32_t* const sums = reinterpret_cast<int32_t*>(columns) + roundUp(p.out, kCols) + column;
    if (p.dtype == Dtype::int8)
      for (int c = 0; c < kCols; c++) {
        scales[c] = c < n ? weightScale(rows + size_t(c) * p.rowStride, p.in) : 0.0f;
        inverse[c] = scales[c] == scales[c] && c < n ? 1.0f / scales[c] : 0.0f;
        sums[c] = 0;
      }
    for (int s = 0; s < steps; s += kPackSteps, dst += kPackSteps * kCols) {
      const int count = least(kPackSteps, steps - s), k = s * group, inputs = least(count * group, p.in - k);
      __builtin_memset(narrow, 0, sizeof(narrow));
      for (int c = 0; c < n; c++) {
        const float* w = rows + size_t(c) * p.rowStride + k;
        if (p.dtype == Dtype::int8) {
          if (scales[c] == scales[c])
            sums[c] += quantiseWeights(w, inputs, inverse[c], reinterpret_cast<int8_t*>(narrow[c]));
        } else {
          for (int i = 0; i < inputs; i += kLanes)
            storeBfloat16(reinterpret_cast<uint16_t*>(narrow[c]) + i, load(w + i, least(kLanes, inputs - i)),
                          least(kLanes, inputs - i));
        }
      }
      for (int i = 0; i < count; i++)
        for (int c = 0; c < kCols; c++) __builtin_memcpy(dst + size_t(i) * kCols + c, &narrow[c][i], 4);
    }
  }
  return exact;
}
