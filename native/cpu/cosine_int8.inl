// Dot products with int8 rows. The query is quantized to 15-bit integers, so that the sum of kStretch
// products fits into an int32 in any order (16383 * 128 * 1024 < 2^31). That allows vpmaddwd, which every x86
// backend has.
//
//   ladder, 100 000 x 512, one query, one core: see bench/README.md

constexpr int kStretch = 1024;

// Queries quantized as described at Classes in backend.h. A row is `dim` int16 values, padded with zeros to
// whole steps.
struct Int8Queries {
  static constexpr int kStep = 2 * kLanes;
  int16_t* rows = nullptr;
  float* inverseLength = nullptr;  // 1 / |q|; NaN if the query is not finite, 0 if it is all zeros
  int dim = 0, stride = 0;

  Int8Queries() = default;
  Int8Queries(void* memory, int count, int dim)
      : rows(static_cast<int16_t*>(memory)), dim(dim), stride(roundUp(dim, kStep)) {
    inverseLength = reinterpret_cast<float*>(rows + size_t(count) * stride);
  }
  static size_t bytes(int count, int dim) {
    return size_t(count) * (size_t(roundUp(dim, kStep)) * sizeof(int16_t) + sizeof(float));
  }

  void round(int r, const float* x) {
    int16_t* q = rows + size_t(r) * stride;
    F most = zero(), spoilt = zero();
    for (int i = 0; i < dim; i += kLanes) {
      const F v = load(x + i, least(kLanes, dim - i));
      most = larger(absolute(v), most);
      spoilt = spoilt + (v - v);
    }
    for (int i = 0; i < stride; i++) q[i] = 0;
    inverseLength[r] = __builtin_nanf("");
    if (!(sum(spoilt) == 0)) return;
    const float step = top(most) / float(kQuerySteps);
    const float inverse = 1.0f / (step < 1e-30f ? 1e-30f : step);
    double squared = 0;
    for (int i = 0; i < dim; i++) {
      const int32_t v = rounded(x[i] * inverse);
      q[i] = int16_t(v < -kQuerySteps ? -kQuerySteps : v > kQuerySteps ? kQuerySteps : v);
      squared += double(q[i]) * q[i];  // exact, because the sum stays below 2^53 for any dim
    }
    inverseLength[r] = squared > 0 ? float(1 / __builtin_sqrt(squared)) : 0.0f;
  }
};

// Reads n < kStep bytes and pads them with zeros.
inline CLIP_INLINE I lastBytes(const int8_t* p, int n) {
  alignas(64) int8_t rest[Int8Queries::kStep] = {};
  __builtin_memcpy(rest, p, size_t(n));
  return widenBytes(rest);
}

// dot = q . row; if Norm, also squared = row . row.
template <bool Norm>
inline CLIP_INLINE void dotInt8(const int16_t* q, const int8_t* row, int dim, float* dot, float* squared) {
  constexpr int kStep = Int8Queries::kStep;
  int64_t dots = 0, squares = 0;
  for (int from = 0; from < dim; from += kStretch) {
    const int end = least(dim, from + kStretch);
    I d[2] = {allInt(0), allInt(0)}, s[2] = {allInt(0), allInt(0)};
    const auto step = [&](auto j, I w, int i) CLIP_INLINE {
      d[j] = addPairs(d[j], w, loadInt(q + i));
      if constexpr (Norm) s[j] = addPairs(s[j], w, w);
    };
    int i = from;
    for (; i + 2 * kStep <= end; i += 2 * kStep) {
      if constexpr (Norm) __builtin_prefetch(row + i + kAhead);
      step(Index<0>{}, widenBytes(row + i), i);
      step(Index<1>{}, widenBytes(row + i + kStep), i + kStep);
    }
    for (; i + kStep <= end; i += kStep) step(Index<0>{}, widenBytes(row + i), i);
    if (i < end) step(Index<0>{}, lastBytes(row + i, end - i), i);
    dots += sumInt(add(d[0], d[1]));
    if constexpr (Norm) squares += sumInt(add(s[0], s[1]));
  }
  *dot = float(dots);
  if constexpr (Norm) *squared = float(squares);
}

// Like dotBlock. A negative scale makes the row's length negative, a zero scale makes it infinite (so that
// the cosine is 0), and a scale that is not finite makes it NaN.
inline void dotBlockInt8(const Int8Queries& queries, int q0, int rows, const int8_t* classes,
                         const float* scale, int count, int dim, float* dots, size_t stride, float* length) {
  for (int j = 0; j < count; j++) {
    float squared;
    dotInt8<true>(queries.rows + size_t(q0) * queries.stride, classes + size_t(j) * dim, dim, dots + j,
                  &squared);
    const float root = squared > 0 ? __builtin_sqrtf(squared) : 1.0f, by = scale ? scale[j] : 1.0f;
    length[j] = !(by - by == 0) ? __builtin_nanf("") : by > 0 ? root : by < 0 ? -root : __builtin_inff();
  }
  for (int q = 1; q < rows; q++)
    for (int j = 0; j < count; j++)
      dotInt8<false>(queries.rows + size_t(q0 + q) * queries.stride, classes + size_t(j) * dim, dim,
                     dots + q * stride + j, nullptr);
  for (int q = 0; q < rows; q++) {
    const F by = all(queries.inverseLength[q0 + q]);
    for (int j = 0; j < count; j += kLanes) {
      const int n = least(kLanes, count - j);
      float* d = dots + q * stride + j;
      store(d, load(d, n) * by, n);
    }
  }
}
