// Converts float32 rows to bfloat16 or int8 rows, bit for bit as specified at MatrixView in backend.h.

// The scale that maps numbers from low <= 0 to high >= 0 to `steps` steps. NaN if `spoilt` (a sum of x - x)
// shows that one of the numbers is not finite.
inline float scaleOf(float low, float high, float steps, float spoilt) {
  const float range = high - low;
  if (!(spoilt == 0) || !(range <= 3.4028234664e38f)) return __builtin_nanf("");
  const float scale = range / steps;
  return scale < 1e-30f ? 1e-30f : scale;
}

inline void quantiseRow(const float* x, int cols, uint8_t* bytes, float* scale, int32_t* zeroPoint) {
  F low = zero(), high = zero(), spoilt = zero();
  for (int i = 0; i < cols; i += kLanes) {
    const F v = load(x + i, least(kLanes, cols - i));  // lanes past the end are 0
    low = smaller(v, low);
    high = larger(v, high);
    spoilt = spoilt + (v - v);
  }
  const float lowest = -top(zero() - low);
  *scale = scaleOf(lowest, top(high), 255.0f, sum(spoilt));
  *zeroPoint = 0;
  if (!(*scale == *scale)) {
    __builtin_memset(bytes, 0, size_t(cols));
    return;
  }
  const float inverse = 1.0f / *scale;
  *zeroPoint = rounded(-lowest * inverse);
  const F k = all(inverse);
  const I shift = allInt(*zeroPoint);
  for (int i = 0; i < cols; i += kLanes) {
    const int n = least(kLanes, cols - i);
    storeBytes(bytes + i, add(rounded(load(x + i, n) * k), shift), n);
  }
}
