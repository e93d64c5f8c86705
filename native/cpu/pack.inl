// Packs weights (out, in) as [out / kCols][in / group][kCols][group], where a group of inputs takes 4 bytes.
// All arithmetics of a dtype share this layout, so that the packed bytes do not depend on the features of the
// CPU. For int8, a scale and a sum of bytes per column follow. The last panel and the last group are padded
// with zeros.
//
// float16: [out / kCols][in][kCols].
//
//   ladder: avx512 on Zen 5, GB/s of float32 read, 768 inputs / 3072 inputs, least of 30
//                                float32   float16   bfloat16  int8
//   plain loops over the rows    11 / 4.4  22 / 15   19 / 18   24 / 25   dropped: 32 rows of 12 KB share one set of L1
//   kLanes x kLanes transposes   37 / 26   40 / 27   31 / 31   35 / 35   kept

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

// Calls put(k, c, v) with numbers k of the columns c .. c + kLanes - 1 of a panel, for every k below `count` and
// the whole panel. Row c of the panel begins at rows + c * stride; rows from n on are zeros. A number may be any
// 4 bytes.
template <class Put>
inline void eachColumn(const float* rows, size_t stride, int n, int count, const Put& put) {
  for (int k = 0; k < count; k += kLanes)
    for (int c = 0; c < kCols; c += kLanes) {
      const int numbers = least(kLanes, count - k);
      F f[kLanes];
      for (int i = 0; i < kLanes; i++)
        f[i] = c + i < n ? load(rows + size_t(c + i) * stride + k, numbers) : zero();
      transpose(f);
      for (int i = 0; i < numbers; i++) put(k + i, c, f[i]);
    }
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
      eachColumn(rows, p.rowStride, n, p.in,
                 [&](int k, int c, F v) CLIP_INLINE { store(dst + size_t(k) * kCols + c, v); });
      continue;
    }
    if (p.dtype == Dtype::float16) {
      uint16_t* const halves = reinterpret_cast<uint16_t*>(dst);
      eachColumn(rows, p.rowStride, n, p.in, [&](int k, int c, F v) CLIP_INLINE {
        exact = storeFloat16(halves + size_t(k) * kCols + c, v) && exact;
      });
      continue;
    }
    // Converts a stretch of each row to 4 bytes per step, which are then packed like float32.
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
      eachColumn(narrow[0], kPackSteps, kCols, count,
                 [&](int i, int c, F v) CLIP_INLINE { store(dst + size_t(i) * kCols + c, v); });
    }
  }
  return exact;
}
