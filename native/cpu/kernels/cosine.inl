// normalize, cosineSoftmax and cosineTopK, which share the dot product.
//
// Every dot product is accumulated in four chains of lanes in a fixed order, whatever else is computed at the
// same time. A query therefore gets the same bits alone (one class row at a time, read once, with its norm
// computed in the same pass) and among many queries (tiles of kQueries x kClasses over rows that are in
// cache). This is also why the tiles of linear, which sum in another order, cannot be used here. bfloat16
// rows are widened in registers; int8 rows are computed exactly, in integers (cosine_int8.inl).
//
//   ladder, 100 000 x 512 float32, one query, Zen 5, 4 KB pages, rows 16 bytes off a line as JavaScript's arrays
//   are; ms beside memchr's 5.2 at 1 thread and 3.3 at 2
//                                                          1 thread            2 threads
//   one row at a time, four chains, its norm beside it     9.1                 4.7     the hardware's streams end
//                                                                                      with a page
//   prefetch of the line 2, 4, 6, 8 KB ahead               6.2, 6.5, 6.1, 5.9  3.6, 3.7, 3.6, 3.5   8 KB: kept
//   prefetch to the second level, 4 KB ahead               8.5                 4.2     dropped
//   the row read again for its norm, as g++ likes it       10.4                5.8     dropped: inRegister
//   two, four rows at a time, sharing the query's loads    12.1, 9.5 (against 10.6 for one)   dropped
//   two streams, from both halves of the matrix            6.2 (against 5.9)   dropped

constexpr int kScoreBlock = 64;  // classes whose scores are buffered between the dot products and the softmax
constexpr int kQueryBlock = 64;  // queries per unit of work
constexpr int kAhead = 8192;     // prefetch distance in bytes
constexpr int kHeapEntries = 1 << 22;  // heap entries of all queries of a unit of work, per thread

struct Float32Rows {
  using Element = float;
  static CLIP_INLINE F loadRow(const float* p, int n) { return load(p, n); }
};
struct Bfloat16Rows {
  using Element = uint16_t;
  static CLIP_INLINE F loadRow(const uint16_t* p, int n) { return loadBfloat16(p, n); }
};

// x86 instructions can take an operand from memory, and g++ prefers to load it twice to keeping it in a
// register. That doubles the accesses, and in rows that do not start at a cache line an access touches two
// lines.
inline CLIP_INLINE void inRegister([[maybe_unused]] F& v) {
#if defined(__x86_64__) || defined(_M_X64)
  asm("" : "+v"(v));
#endif
}

// Fixes the order of every sum: calls f(chain, i, n) for the n lanes from element i on.
template <class Fn>
inline CLIP_INLINE void chains(int dim, const Fn& f) {
  int i = 0;
  for (; i + 4 * kLanes <= dim; i += 4 * kLanes)
    each<4>([&](auto j) CLIP_INLINE { f(j, i + j * kLanes, kLanes); });
  for (; i < dim; i += kLanes) f(Index<0>{}, i, least(kLanes, dim - i));
}
inline CLIP_INLINE float sumOfChains(const F* acc) { return sum((acc[0] + acc[1]) + (acc[2] + acc[3])); }

// The sums of firstPass for a row that does not start at a vector boundary. dim is a multiple of 4 * kLanes.
template <class J>
inline CLIP_INLINE void joinedPass(const float* query, const float* row, int dim, F* d, F* s) {
  const int lane = int(reinterpret_cast<uintptr_t>(row) % sizeof(F) / sizeof(float));
  const float* line = row - lane;
  const auto lanes = J::lanesFrom(lane);
  F before = J::loadFrom(line, lane);
  for (int i = 0; i < dim; i += 4 * kLanes)
    each<4>([&](auto j) CLIP_INLINE {
      const float* at = line + i + (j + 1) * kLanes;
      __builtin_prefetch(reinterpret_cast<const char*>(at) + kAhead);
      F next = j < 3 || i + 4 * kLanes < dim ? load(at) : load(at, lane);  // does not read past the row
      inRegister(next);
      const F c = J::joined(before, next, lanes);
      before = next;
      d[j] = fma(load(query + i + j * kLanes), c, d[j]);
      s[j] = fma(c, c, s[j]);
    });
}

// Computes dot = query . row and squared = row . row in one pass, which streams the row from memory.
template <class Rows>
inline CLIP_INLINE void firstPass(const float* query, const typename Rows::Element* row, int dim, float* dot,
                                  float* squared) {
  F d[4], s[4];
  each<4>([&](auto j) CLIP_INLINE { d[j] = s[j] = zero(); });
  if constexpr (Joining::exists && sizeof(*row) == sizeof(float)) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(row);
    if (dim % (4 * kLanes) == 0 && address % sizeof(F) && address % sizeof(float) == 0) {
      joinedPass<Joining>(query, row, dim, d, s);
      *dot = sumOfChains(d);
      *squared = sumOfChains(s);
      return;
    }
  }
  chains(dim, [&](auto j, int i, int n) CLIP_INLINE {
    __builtin_prefetch(reinterpret_cast<const char*>(row + i) + kAhead);
    F c = Rows::loadRow(row + i, n);
    inRegister(c);
    d[j] = fma(load(query + i, n), c, d[j]);
    s[j] = fma(c, c, s[j]);
  });
  *dot = sumOfChains(d);
  *squared = sumOfChains(s);
}

// dot[q * stride + c] = queries[q] . rows[c]
template <class Rows, int Q, int C>
inline CLIP_INLINE void cosineTile(const float* queries, const typename Rows::Element* rows, int dim,
                                   float* dot, size_t stride) {
  F acc[Q][C][4];
  each<Q>([&](auto q) CLIP_INLINE {
    each<C>([&](auto c) CLIP_INLINE { each<4>([&](auto j) CLIP_INLINE { acc[q][c][j] = zero(); }); });
  });
  chains(dim, [&](auto j, int i, int n) CLIP_INLINE {
    F row[C];
    each<C>([&](auto c) CLIP_INLINE {
      row[c] = Rows::loadRow(rows + size_t(c) * dim + i, n);
      if constexpr (Q > 1) inRegister(row[c]);
    });
    each<Q>([&](auto q) CLIP_INLINE {
      F x = load(queries + size_t(q) * dim + i, n);
      if constexpr (C > 1) inRegister(x);
      each<C>([&](auto c) CLIP_INLINE { acc[q][c][j] = fma(x, row[c], acc[q][c][j]); });
    });
  });
  each<Q>([&](auto q) CLIP_INLINE {
    each<C>([&](auto c) CLIP_INLINE { dot[q * stride + c] = sumOfChains(acc[q][c]); });
  });
}

// max(|x|, 1e-12), given x . x. NaN stays NaN.
inline float lengthOf(float squared) {
  const float root = __builtin_sqrtf(squared);
  return root < 1e-12f ? 1e-12f : root;
}

inline void normaliseRow(const float* x, float* y, int cols) {
  F acc[4];
  each<4>([&](auto j) CLIP_INLINE { acc[j] = zero(); });
  chains(cols, [&](auto j, int i, int n) CLIP_INLINE {
    const F v = load(x + i, n);
    acc[j] = fma(v, v, acc[j]);
  });
  const F length = all(lengthOf(sumOfChains(acc)));
  for (int i = 0; i < cols; i += kLanes) {
    const int n = least(kLanes, cols - i);
    store(y + i, load(x + i, n) / length, n);
  }
}

void normalise(Context& context, const Normalise& n) {
  shareRows(context, n.rows, 3.0 * n.cols,
            [&](int r) { normaliseRow(rowOf(n.x, r), outRow(n.y, r), n.cols); });
}

#include "cpu/cosine_int8.inl"

// The queries in the form in which they are compared with the rows: normalized to unit length or, for int8
// rows, quantized.
struct Queries {
  const float* unit = nullptr;
  Int8Queries rounded = {};
};

// The dot products of `rows` queries with `count` classes, and the lengths by which to divide them.
template <class Rows>
inline void dotBlock(const float* unit, int rows, const void* data, int count, int dim, float* dots,
                     size_t stride, float* length) {
  const auto* classes = static_cast<const typename Rows::Element*>(data);
  const auto at = [&](int j) CLIP_INLINE { return classes + size_t(j) * dim; };
  for (int j = 0; j < count; j++) {
    float squared;
    firstPass<Rows>(unit, at(j), dim, dots + j, &squared);
    length[j] = lengthOf(squared);
  }
  const auto run = [&](auto width, int q) CLIP_INLINE {
    const float* x = unit + size_t(q) * dim;
    float* to = dots + size_t(q) * stride;
    int j = 0;
    for (; j + kClasses <= count; j += kClasses)
      cosineTile<Rows, width, kClasses>(x, at(j), dim, to + j, stride);
    for (; j < count; j++) cosineTile<Rows, width, 1>(x, at(j), dim, to + j, stride);
  };
  int q = 1;
  for (; q + kQueries <= rows; q += kQueries) run(Index<kQueries>{}, q);
  for (; q < rows; q++) run(Index<1>{}, q);
}

// The factor and the bias that turn cosines into scores. Because of rounding, a float32 dot product may
// exceed the product of the lengths by a few epsilons; a score of the kind `cosine` is clamped to [-1, 1].
struct ScoreScale {
  float factor, bias, most;
  ScoreScale(Score score, float scale, float offset)
      : factor(score == Score::cosine ? 1.0f : scale),
        // Adding -0 changes nothing, not even the sign of a zero.
        bias(score == Score::cosine || offset == 0 ? -0.0f : offset),
        most(score == Score::cosine ? 1.0f : __builtin_inff()) {}
};

// scores[q * stride + j] = factor * cosine(query q0 + q, class begin + j) + bias for `count` classes, at most
// kScoreBlock.
inline void scoreBlock(const Queries& queries, int q0, int rows, const Classes& c, int begin, int count,
                       int dim, ScoreScale factor, float* scores, size_t stride) {
  alignas(64) float length[kScoreBlock];
  const void* data = static_cast<const char*>(c.data) + size_t(begin) * dim * bytesOf(c.dtype);
  const float* unit = queries.unit + size_t(q0) * dim;
  if (c.dtype == Dtype::int8)
    dotBlockInt8(queries.rounded, q0, rows, static_cast<const int8_t*>(data),
                 c.scale ? c.scale + begin : nullptr, count, dim, scores, stride, length);
  else if (c.dtype == Dtype::bfloat16)
    dotBlock<Bfloat16Rows>(unit, rows, data, count, dim, scores, stride, length);
  else
    dotBlock<Float32Rows>(unit, rows, data, count, dim, scores, stride, length);
  const F most = all(factor.most), lowest = all(-factor.most);
  for (int q = 0; q < rows; q++)
    for (int j = 0; j < count; j += kLanes) {
      const int n = least(kLanes, count - j);
      float* s = scores + q * stride + j;
      const F score = fma(all(factor.factor), load(s, n) / load(length + j, n), all(factor.bias));
      store(s, smaller(most, larger(lowest, score)), n);  // if either operand is NaN, the second is returned
    }
}

// Scratch memory of one call, for `rows` queries.
struct QueryMemory {
  const Bytes bytes;
  Queries queries;
  QueryMemory(const Classes& c, int rows, int dim)
      : bytes(c.dtype == Dtype::int8 ? Int8Queries::bytes(rows, dim) : size_t(rows) * dim * sizeof(float)) {}
  void fill(Context& context, const Classes& c, const float* from, int rows, int dim) {
    if (c.dtype == Dtype::int8) {
      queries.rounded = Int8Queries(bytes.data, rows, dim);
      return shareRows(context, rows, 3.0 * dim,
                       [&](int r) { queries.rounded.round(r, from + size_t(r) * dim); });
    }
    float* unit = static_cast<float*>(bytes.data);
    queries.unit = unit;
    shareRows(context, rows, 3.0 * dim,
              [&](int r) { normaliseRow(from + size_t(r) * dim, unit + size_t(r) * dim, dim); });
  }
};

void cosineSoftmax(Context& context, const CosineSoftmax& c) {
  if (c.rows <= 0 || c.classCount <= 0) return;
  QueryMemory memory(c.classes, c.rows, c.dim);
  memory.fill(context, c.classes, c.queries, c.rows, c.dim);
  const int classBlocks = (c.classCount + kScoreBlock - 1) / kScoreBlock;
  const int rowBlocks = (c.rows + kQueryBlock - 1) / kQueryBlock;
  const ScoreScale factor(c.score, c.scale, c.bias);
  share(context, classBlocks * rowBlocks, double(c.rows) * c.classCount * c.dim, [&](int unitOfWork, int) {
    const int q = unitOfWork / classBlocks * kQueryBlock, j = unitOfWork % classBlocks * kScoreBlock;
    scoreBlock(memory.queries, q, least(kQueryBlock, c.rows - q), c.classes, j,
               least(kScoreBlock, c.classCount - j), c.dim, factor, c.y + size_t(q) * c.classCount + j,
               size_t(c.classCount));
  });
  if (c.score == Score::sigmoid)
    shareRows(context, c.rows, 20.0 * c.classCount, [&](int r) {
      float* y = c.y + size_t(r) * c.classCount;
      for (int i = 0; i < c.classCount; i += kLanes) {
        const int n = least(kLanes, c.classCount - i);
        store(y + i, sigmoid(load(y + i, n)), n);
      }
    });
  if (c.score != Score::probability) return;
  shareRows(context, c.rows, 20.0 * c.classCount, [&](int r) {
    float* y = c.y + size_t(r) * c.classCount;
    const int whole = c.classCount / kLanes * kLanes, rest = c.classCount - whole;
    F most = all(-__builtin_inff());
    for (int i = 0; i < whole; i += kLanes) most = larger(most, load(y + i));
    if (rest) most = larger(most, firstLanes(load(y + whole, rest), rest, most));
    const F shift = all(top(most));
    F total = zero();
    for (int i = 0; i < c.classCount; i += kLanes) {
      const int n = least(kLanes, c.classCount - i);
      const F e = firstLanes(exponential(load(y + i, n) - shift), n, zero());
      store(y + i, e, n);
      total = total + e;
    }
    const F all_ = all(sum(total));
    for (int i = 0; i < c.classCount; i += kLanes) {
      const int n = least(kLanes, c.classCount - i);
      store(y + i, load(y + i, n) / all_, n);
    }
  });
}

// Scores one block of classes for `rows` queries from q0 on, pushes those that are among the best, and writes
// sums[q].
inline void scanBlock(const CosineTopK& c, const Queries& queries, int rows, int begin, ScoreScale factor,
                      TopK* best, TopKSum* sums) {
  alignas(64) float scores[kQueryBlock * kScoreBlock];
  float mosts[kQueryBlock], totals[kQueryBlock];
  for (int q = 0; q < rows; q++) mosts[q] = -__builtin_inff(), totals[q] = 0;
  const int end = least(c.classCount, begin + kTopKBlock);
  for (int j = begin; j < end; j += kScoreBlock) {
    const int count = least(kScoreBlock, end - j);
    scoreBlock(queries, 0, rows, c.classes, j, count, c.dim, factor, scores, kScoreBlock);
    for (int q = 0; q < rows; q++) {
      float* s = scores + q * kScoreBlock;
      for (int i = count; i < kScoreBlock; i++) s[i] = -__builtin_inff();
      F m = load(s);
      for (int i = kLanes; i < kScoreBlock; i += kLanes) m = larger(m, load(s + i));
      const float most = top(m);
      if (most > mosts[q]) {
        totals[q] *= exponential(mosts[q] - most);
        mosts[q] = most;
      }
      F total = zero();
      for (int i = 0; i < kScoreBlock; i += kLanes) total = total + exponential(load(s + i) - all(mosts[q]));
      totals[q] += sum(total);
      // A NaN score may be missing from the maximum, but never from the sum. A score equal to the threshold
      // is pushed too, because its index may be lower.
      TopK& t = best[q];
      if (t.full() && most < t.value[0] && totals[q] == totals[q]) continue;
      for (int i = 0; i < count; i++)
        if (!t.full() || !(s[i] < t.value[0])) t.push(s[i], c.firstClass + j + i);
    }
  }
  for (int q = 0; q < rows; q++) sums[q] = {mosts[q], totals[q]};
}

void cosineTopK(Context& context, const CosineTopK& c) {
  if (c.rows <= 0 || c.classCount <= 0) return;
  const int blocks = blocksOf(c.classCount), k = c.best[0].capacity;
  const int unit = least(least(c.rows, kQueryBlock), kHeapEntries / k < 1 ? 1 : kHeapEntries / k);
  const ScoreScale factor(c.score, c.scale, c.bias);
  // The heaps of the helper threads; worker 0 uses the caller's heaps.
  const size_t helpers = size_t(context.threads) - 1, entries = helpers * unit * k;
  const Bytes heapMemory(helpers * unit * sizeof(TopK)), valueMemory(entries * sizeof(float)),
      indexMemory(entries * sizeof(int32_t));
  TopK* heaps = static_cast<TopK*>(heapMemory.data);
  QueryMemory memory(c.classes, unit, c.dim);
  for (int r0 = 0; r0 < c.rows; r0 += unit) {
    const int rows = least(unit, c.rows - r0);
    memory.fill(context, c.classes, c.queries + size_t(r0) * c.dim, rows, c.dim);
    for (size_t i = 0; i < helpers * rows; i++)
      heaps[i] = {static_cast<float*>(valueMemory.data) + i * k,
                  static_cast<int32_t*>(indexMemory.data) + i * k, k};
    share(context, blocks, double(rows) * c.classCount * c.dim, [&](int b, int worker) {
      scanBlock(c, memory.queries, rows, b * kTopKBlock, factor,
                worker ? heaps + size_t(worker - 1) * rows : c.best + r0, c.sums + size_t(b) * c.rows + r0);
    });
    for (size_t i = 0; i < helpers * rows; i++) c.best[r0 + i % rows].push(heaps[i]);
  }
}
