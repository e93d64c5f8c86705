// normalise, cosineSoftmax and cosineTopK: they share the dot product.
//
// Every dot product runs on four chains of lanes in one order, whatever is computed beside it. Class rows are
// read one at a time, so that the matrix is one stream.
//
//   ladder, 100 000 x 512 float32, one query, one core   GB/s (DRAM streams at 33)
//   one row at a time, four chains                       30 to 34.5   kept
//   four rows at a time, sharing the query's loads       15           dropped: four streams lose the
//   prefetcher one row, software prefetch                           31           dropped

constexpr int kScoreBlock = 64;    // classes whose scores are kept between the dot products and the softmax
constexpr int kClassBlock = 1024;  // classes per unit of cosineTopK; the blocks are merged in order
constexpr int kQueryBlock = 64;    // queries per unit

// dot[i] = queries[i] · row and dot[Q] = row · row.
template <int Q>
inline CLIP_INLINE void dots(const float* queries, size_t stride, const float* row, int dim, float* dot) {
  F acc[Q + 1][4];
  each<Q + 1>([&](auto q) CLIP_INLINE { each<4>([&](auto j) CLIP_INLINE { acc[q][j] = zero(); }); });
  const auto add = [&](auto j, int i, int n) CLIP_INLINE {
    const F c = load(row + i, n);
    each<Q>([&](auto q) CLIP_INLINE { acc[q][j] = fma(load(queries + q * stride + i, n), c, acc[q][j]); });
    acc[Q][j] = fma(c, c, acc[Q][j]);
  };
  int i = 0;
  for (; i + 4 * kLanes <= dim; i += 4 * kLanes)
    each<4>([&](auto j) CLIP_INLINE { add(j, i + j * kLanes, kLanes); });
  for (; i < dim; i += kLanes) add(Index<0>{}, i, least(kLanes, dim - i));
  each<Q + 1>([&](auto q) CLIP_INLINE { dot[q] = sum((acc[q][0] + acc[q][1]) + (acc[q][2] + acc[q][3])); });
}

// max(|x|, 1e-12) from x · x; NaN stays NaN.
inline float lengthOf(float squared) {
  const float root = __builtin_sqrtf(squared);
  return root < 1e-12f ? 1e-12f : root;
}

inline void normaliseRow(const float* x, float* y, int cols) {
  float squared;
  dots<0>(nullptr, 0, x, cols, &squared);
  const F length = all(lengthOf(squared));
  for (int i = 0; i < cols; i += kLanes) {
    const int n = least(kLanes, cols - i);
    store(y + i, load(x + i, n) / length, n);
  }
}

void normalise(Context& context, const Normalise& n) {
  shareRows(context, n.rows, 3.0 * n.cols,
            [&](int r) { normaliseRow(rowOf(n.x, r), outRow(n.y, r), n.cols); });
}

// Unit-length copies of the queries, dense.
inline void normaliseQueries(Context& context, const float* queries, int rows, int dim, float* unit) {
  shareRows(context, rows, 3.0 * dim,
            [&](int r) { normaliseRow(queries + size_t(r) * dim, unit + size_t(r) * dim, dim); });
}

// scores[q * stride + j] = factor * cosine(unit[q], classes[j]) for `rows` queries and `count` classes.
inline void scoreBlock(const float* unit, int rows, const float* classes, int count, int dim, float factor,
                       float* scores, size_t stride) {
  const auto run = [&](auto width, int q) CLIP_INLINE {
    for (int j = 0; j < count; j++) {
      float dot[width + 1];
      dots<width>(unit + size_t(q) * dim, size_t(dim), classes + size_t(j) * dim, dim, dot);
      const float length = lengthOf(dot[width]);
      for (int i = 0; i < width; i++) scores[size_t(q + i) * stride + j] = factor * (dot[i] / length);
    }
  };
  int q = 0;
  for (; q + kQueries <= rows; q += kQueries) run(Index<kQueries>{}, q);
  for (; q < rows; q++) run(Index<1>{}, q);
}

void cosineSoftmax(Context& context, const CosineSoftmax& c) {
  if (c.rows <= 0 || c.classCount <= 0) return;
  const Bytes memory(size_t(c.rows) * c.dim * sizeof(float));
  float* unit = static_cast<float*>(memory.data);
  normaliseQueries(context, c.queries, c.rows, c.dim, unit);
  const int classBlocks = (c.classCount + kScoreBlock - 1) / kScoreBlock;
  const int rowBlocks = (c.rows + kQueryBlock - 1) / kQueryBlock;
  const float factor = c.score == Score::cosine ? 1.0f : c.scale;
  share(context, classBlocks * rowBlocks, double(c.rows) * c.classCount * c.dim, [&](int unitOfWork, int) {
    const int q = unitOfWork / classBlocks * kQueryBlock, j = unitOfWork % classBlocks * kScoreBlock;
    scoreBlock(unit + size_t(q) * c.dim, least(kQueryBlock, c.rows - q), c.classes + size_t(j) * c.dim,
               least(kScoreBlock, c.classCount - j), c.dim, factor, c.y + size_t(q) * c.classCount + j,
               size_t(c.classCount));
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

// What one block of classes says about one query: its k best, the largest score, the sum of exp(score -
// largest).
struct BlockBest {
  float most, sum;
  TopK best;
};

inline void scanClasses(const CosineTopK& c, const float* unit, int rows, int begin, int end, float factor,
                        BlockBest* found) {
  alignas(64) float scores[kQueryBlock * kScoreBlock];
  for (int j = begin; j < end; j += kScoreBlock) {
    const int count = least(kScoreBlock, end - j);
    scoreBlock(unit, rows, c.classes + size_t(j) * c.dim, count, c.dim, factor, scores, kScoreBlock);
    for (int q = 0; q < rows; q++) {
      float* s = scores + q * kScoreBlock;
      for (int i = count; i < kScoreBlock; i++) s[i] = -__builtin_inff();
      BlockBest& f = found[q];
      F m = load(s);
      for (int i = kLanes; i < kScoreBlock; i += kLanes) m = larger(m, load(s + i));
      const float most = top(m);
      if (most > f.most) {
        f.sum *= exponential(f.most - most);
        f.most = most;
      }
      F total = zero();
      for (int i = 0; i < kScoreBlock; i += kLanes) total = total + exponential(load(s + i) - all(f.most));
      f.sum += sum(total);
      // A NaN score may hide from the maximum, never from the sum.
      if (f.best.full() && !(most > f.best.value[0]) && f.sum == f.sum) continue;
      for (int i = 0; i < count; i++)
        if (!f.best.full() || !(s[i] <= f.best.value[0])) f.best.push(s[i], j + i);
    }
  }
}

void cosineTopK(Context& context, const CosineTopK& c) {
  if (c.rows <= 0 || c.classCount <= 0 || c.k <= 0) return;
  const int blocks = (c.classCount + kClassBlock - 1) / kClassBlock, kept = least(c.k, kClassBlock);
  const int most = least(c.rows, kQueryBlock);
  const float factor = c.score == Score::cosine ? 1.0f : c.scale;
  const Bytes unitMemory(size_t(most) * c.dim * sizeof(float));
  const Bytes foundMemory(size_t(most) * blocks * sizeof(BlockBest));
  const Bytes valueMemory(size_t(most) * blocks * kept * sizeof(float));
  const Bytes indexMemory(size_t(most) * blocks * kept * sizeof(int32_t));
  float* unit = static_cast<float*>(unitMemory.data);
  BlockBest* found = static_cast<BlockBest*>(foundMemory.data);  // [block][row]
  for (int r0 = 0; r0 < c.rows; r0 += kQueryBlock) {
    const int rows = least(kQueryBlock, c.rows - r0);
    normaliseQueries(context, c.queries + size_t(r0) * c.dim, rows, c.dim, unit);
    share(context, blocks, double(rows) * c.classCount * c.dim, [&](int b, int) {
      BlockBest* of = found + size_t(b) * rows;
      for (int q = 0; q < rows; q++) {
        const size_t at = (size_t(b) * rows + q) * kept;
        of[q] = {
            -__builtin_inff(),
            0,
            {static_cast<float*>(valueMemory.data) + at, static_cast<int32_t*>(indexMemory.data) + at, kept}};
      }
      scanClasses(c, unit, rows, b * kClassBlock, least(c.classCount, (b + 1) * kClassBlock), factor, of);
    });
    for (int q = 0; q < rows; q++) {
      const size_t at = size_t(r0 + q) * c.k;
      TopK best{c.value + at, c.index + at, c.k};
      float largest = -__builtin_inff(), total = 0;
      for (int b = 0; b < blocks; b++) {
        const BlockBest& f = found[size_t(b) * rows + q];
        if (f.most > largest) largest = f.most;
        for (int i = 0; i < f.best.count; i++) best.push(f.best.value[i], f.best.index[i]);
      }
      best.sort();
      if (c.score != Score::probability) continue;
      for (int b = 0; b < blocks; b++) {
        const BlockBest& f = found[size_t(b) * rows + q];
        total += f.sum * exponential(f.most - largest);
      }
      for (int i = 0; i < c.k; i++) best.value[i] = exponential(best.value[i] - largest) / total;
    }
  }
}
