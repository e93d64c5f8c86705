// out = softmax(q Kt / sqrt(dim)) V, one head of one group of queries (cpu/attention_plan.h) at a time. The
// group's keys are packed once as [keys / kCols][dim][kCols], its values as [dim / kCols][keys][kCols]; then
// for every tile of queries the micro-kernel of linear.inl makes the scores, a softmax runs on them in the
// first-level cache, and the same micro-kernel makes the output.
//
// A row's bits depend on its own query and the keys it sees, in their order: scores are independent sums; the
// softmax works on lanes numbered from the group's first key; a later key of a tile-mate adds probability 0
// times a finite value at the end of the sum, which changes nothing but the sign of a zero (removed on the
// way out). Where a value is not finite, queries of different lengths are computed one by one: the same bits,
// and 0 x NaN never happens.
//
//   ladder, float32, one core (percent of peak)     L 50 (12 x 64)   L 577 (16 x 64)
//   scores of a tile in L1, plain softmax           103 us, 64 %     14.7 ms, 78 %     kept
//   online softmax                                                                     not needed: 14 x L
//   floats fit

// Panels of packed keys: column c of panel p is key p * kCols + c. Columns past the last key hold anything:
// their scores are masked.
inline void packKeys(const Attention& a, const int32_t* keys, int count, size_t column, float* packed) {
  for (int c = 0; c < count; c += kLanes)
    for (int d = 0; d < a.dim; d += kLanes) {
      const int n = least(kLanes, a.dim - d);
      F r[kLanes];
      for (int i = 0; i < kLanes; i++)
        r[i] = c + i < count ? loadNumbers(a.k, keys[c + i], column + d, n) : zero();
      transpose(r);
      float* to = packed + (size_t(c / kCols) * a.dim + d) * kCols + c % kCols;
      for (int j = 0; j < n; j++) store(to + size_t(j) * kCols, r[j]);
    }
}

// Returns whether all values are finite.
inline bool packValues(const Attention& a, const int32_t* keys, int count, size_t column, float* packed) {
  F spoilt = zero();
  for (int d = 0; d < a.dim; d += kCols)
    for (int c = 0; c < count; c++, packed += kCols) {
      const F low = loadNumbers(a.v, keys[c], column + d, least(kLanes, a.dim - d));
      const F high = a.dim - d > kLanes
                         ? loadNumbers(a.v, keys[c], column + d + kLanes, least(kLanes, a.dim - d - kLanes))
                         : zero();
      store(packed, low);
      store(packed + kLanes, high);
      spoilt = spoilt + ((low - low) + (high - high));
    }
  return sum(spoilt) == 0;
}

// In place on one query's scores, `panelStride` floats from panel to panel; columns from `seen` up to `end`
// become 0. Returns 1 / sum.
inline float softmaxRow(float* s, size_t panelStride, int seen, int end, float scale) {
  const auto at = [&](int c) CLIP_INLINE { return s + size_t(c / kCols) * panelStride + c % kCols; };
  const int whole = seen / kLanes * kLanes, rest = seen - whole;
  F most = all(-__builtin_inff());
  for (int c = 0; c < whole; c += kLanes) most = larger(most, load(at(c)));
  if (rest) most = larger(most, firstLanes(load(at(whole)), rest, most));
  const F k = all(scale), shift = all(top(most) * scale);
  F total = zero();
  for (int c = 0; c < whole; c += kLanes) {
    const F e = exponential(fms(load(at(c)), k, shift));
    store(at(c), e);
    total = total + e;
  }
  if (rest) {
    const F e = firstLanes(exponential(fms(load(at(whole)), k, shift)), rest, zero());
    store(at(whole), e);
    total = total + e;
  }
  for (int c = whole + (rest ? kLanes : 0); c < end; c += kLanes) store(at(c), zero());
  return 1.0f / sum(total);
}

struct AttentionScratch {
  size_t keys, values, scores, sums, queries, total;  // offsets in floats
  AttentionScratch(int longest, int dim) {
    const size_t columns = size_t(roundUp(longest, kCols));
    keys = 0;
    values = keys + columns * dim;
    scores = values + size_t(roundUp(dim, kCols)) * longest;
    sums = scores + columns * kTileRows;
    queries = sums + size_t(kCols) * kTileRows;
    total = queries + size_t(kTileRows) * dim;
  }
};

// Queries [first, last) of group g, head h.
inline void attentionHead(const Attention& a, const AttentionPlan& plan, const AttentionPlan::Group& g, int h,
                          int first, int last, float* scratch) {
  const size_t column = size_t(h) * a.dim;
  const AttentionScratch at(plan.longest, a.dim);
  float *keys = scratch + at.keys, *values = scratch + at.values, *scores = scratch + at.scores;
  float* q = scratch + at.queries;
  F* sums = reinterpret_cast<F*>(scratch + at.sums);
  const AttentionPlan::Query* query = plan.queries + g.firstQuery;
  const int count = query[last - 1].seen;  // no query of this part sees more
  packKeys(a, plan.keys + g.firstKey, count, column, keys);
  const bool finite = packValues(a, plan.keys + g.firstKey, count, column, values);
  const int highest = finite || query[first].seen == count ? kTileRows : 1;
  const int tiles = (last - first + highest - 1) / highest;
  const float scale = 1.0f / __builtin_sqrtf(float(a.dim));
  for (int t = 0, i = first; t < tiles; t++) {
    const int rows = (last - i) / (tiles - t), seen = query[i + rows - 1].seen,
              panels = (seen + kCols - 1) / kCols;
    for (int r = 0; r < rows; r++)
      for (int d = 0; d < a.dim; d += kLanes) {
        const int n = least(kLanes, a.dim - d);
        store(q + size_t(r) * a.dim + d, loadNumbers(a.q, query[i + r].index, column + d, n), n);
      }
    const Tile<Float32> f = pickTile<Float32, 0>(rows);
    const size_t panelStride = size_t(rows) * kCols;
    for (int p = 0; p < panels; p++)
      f(reinterpret_cast<const char*>(q), size_t(a.dim) * 4,
        reinterpret_cast<const char*>(keys + size_t(p) * kCols * a.dim), a.dim, nullptr, true,
        reinterpret_cast<F*>(scores + p * panelStride));
    float inverse[kTileRows];
    for (int r = 0; r < rows; r++)
      inverse[r] = softmaxRow(scores + r * kCols, panelStride, query[i + r].seen, seen, scale);
    for (int d = 0; d < a.dim; d += kCols) {
      for (int p = 0; p < panels; p++)
        f(reinterpret_cast<const char*>(scores + p * panelStride), kCols * 4,
          reinterpret_cast<const char*>(values + (size_t(d / kCols) * count + size_t(p) * kCols) * kCols),
          least(kCols, seen - p * kCols), nullptr, p == 0, sums);
      for (int r = 0; r < rows; r++)
        for (int j = 0; j < 2 && d + j * kLanes < a.dim; j++)
          storeNumbers(a.out, query[i + r].index, column + d + j * kLanes,
                       fma(sums[r * 2 + j], all(inverse[r]), zero()), least(kLanes, a.dim - d - j * kLanes));
    }
    i += rows;
  }
}

// One unit of work is a head of a group; with fewer units than threads can use, the group's queries are cut
// too.
void attention(Context& context, const Attention& a) {
  if (a.queries <= 0 || a.rows <= 0) return;
  const AttentionPlan plan(a);
  const int64_t heads = int64_t(plan.groupCount) * a.heads;
  int parts = 1;
  if (context.threads > 1 && heads < 2 * context.threads)
    parts = least(int((2 * context.threads + heads - 1) / heads),
                  1 + a.queries / plan.groupCount / (2 * kTileRows));
  const int64_t units = heads * parts;
  const int chunks = int(units < 8 * context.threads ? units : 8 * context.threads);
  const size_t bytes = AttentionScratch(plan.longest, a.dim).total * sizeof(float);
  share(context, chunks, 2.0 * double(plan.pairs) * a.heads * a.dim, [&](int chunk, int worker) {
    float* scratch = static_cast<float*>(context.memory(worker, bytes));
    for (int64_t u = units * chunk / chunks; u < units * (chunk + 1) / chunks; u++) {
      const AttentionPlan::Group& g = plan.groups[u / parts / a.heads];
      const int part = int(u % parts), head = int(u / parts % a.heads);
      const int first = int(int64_t(g.queryCount) * part / parts);
      const int last = int(int64_t(g.queryCount) * (part + 1) / parts);
      if (first < last) attentionHead(a, plan, g, head, first, last, scratch);
    }
  });
}
