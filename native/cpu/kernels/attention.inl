// out = softmax(q Kt / sqrt(dim)) V, for one head of one group of queries (cpu/attention_plan.h) at a time.
// The group's keys and values are packed once, in the layout of linear.inl's weights: keys as [keys /
// kCols][dim][kCols], values as [dim / kCols][keys][kCols]. In bfloat16, a pair of numbers takes the place of
// each float32 (pairs along dim, and pairs of keys). Then, for every tile of queries, the micro-kernel of
// linear.inl computes the scores, the softmax runs on them in the first-level cache, and the same
// micro-kernel computes the output.
//
// T is the arithmetic: pairs of bfloat16, or Float32, which also serves for bfloat16 if the CPU has no
// bfloat16 products (the numbers are widened, which is exact).
//
// The bits of a row depend only on its own query and on the keys that it sees, in their order. Scores are
// independent sums. The softmax first moves the scores of the row's keys together, so that its lanes are
// numbered from the row's first key. The weighted sum runs over the list in order; keys that the row does not
// see have probability 0 there, which changes nothing but the sign of a zero (which is removed when the
// output is written). Keys are paired by their order in the row (first and second, third and fourth, ...) in
// every list. If a value is not finite, each query gets a list of its own: the bits are the same, and 0 x NaN
// never occurs.
//
//   ladder, one Zen 5 core of a shared machine, avx512, microseconds, least of many. Two runs: A compared the
//   first two lines of each dtype, B the last two. The same code differed by up to 1.7 times between A and B,
//   so compare within a letter only. Before: float32 throughout, the keys of each path of a tree alone.
//                                         ViT-B/32   ViT-L/14   336 px   1000 labels   text
//                                          50 x 12   257 x 16  577 x 16   3991 x 8    77 x 8
//   float32: before                    A       69       2300    10751       11230        68
//     probabilities as rows, lists     A       63       2044     8602        7583        58   kept
//     the same                         B       62       1612     8052        5985        58
//     softmax in three turns           B       60       1625     8303        5613        57   kept
//   bfloat16: before (widened)         A       87       2179    10473        9393        70
//     pairs, vdpbf16ps, lists          A       59       1222     5123        6459        39   kept
//     the same                         B       43       1013     4917        3853        38
//     softmax in three turns           B       39        950     4874        4206        38   kept
//   online softmax: not needed, the scores of a tile fit the first-level cache
//   lists of a tree (1000 labels, 14 queries a tile): 21 keys and 14 queries on average, where a list for
//     each path had 1 to 5 queries; leaves that ask alone (the last block), A: 7355 -> 3946,
//     bfloat16 5722 -> 3859
//   int8 models asking in bfloat16: 770 of 778 held-out answers, in float32 773, 99 % is 771: dropped

// A step of packed keys or values: 4 bytes.
template <class T>
constexpr int stepsOf(int n) {
  return (n + T::group - 1) / T::group;
}

// Packs keys into panels: column c of panel p is key p * kCols + c. Columns past the last key and in gaps may
// hold any finite numbers, because their scores are not read.
template <class T>
inline void packKeys(const Attention& a, const int32_t* keys, int count, size_t column, float* packed) {
  const int steps = stepsOf<T>(a.dim);
  for (int c = 0; c < count; c += kLanes)
    for (int s = 0; s < steps; s += kLanes) {
      const int n = least(kLanes * T::group, a.dim - s * T::group);
      F r[kLanes];
      for (int i = 0; i < kLanes; i++) {
        const int key = c + i < count ? keys[c + i] : -1;
        if (key < 0)
          r[i] = zero();
        else if constexpr (T::group == 2)
          r[i] = loadHalves(rowOf<uint16_t>(a.k, key) + column + s * 2, n);
        else
          r[i] = loadNumbers(a.k, key, column + s, n);
      }
      transpose(r);
      float* to = packed + (size_t(c / kCols) * steps + s) * kCols + c % kCols;
      for (int j = 0; j < least(kLanes, steps - s); j++) store(to + size_t(j) * kCols, r[j]);
    }
}

// Packs the values and returns whether all of them are finite.
template <class T>
inline bool packValues(const Attention& a, const int32_t* keys, int count, size_t column, float* packed) {
  F spoilt = zero();
  for (int d = 0; d < a.dim; d += kCols)
    for (int c = 0; c < count; c += T::group)
      for (int j = 0; j < kCols; j += kLanes, packed += kLanes) {
        const int n = least(kLanes, a.dim - d - j);
        F v[T::group];
        for (int i = 0; i < T::group; i++) {
          const int key = n > 0 && c + i < count ? keys[c + i] : -1;
          v[i] = key < 0 ? zero() : loadNumbers(a.v, key, column + d + j, n);
          spoilt = spoilt + (v[i] - v[i]);
        }
        if constexpr (T::group == 2)
          store(packed, joinHalves(v[0], v[1]));
        else
          store(packed, v[0]);
      }
  return sum(spoilt) == 0;
}

// The probabilities of one query, not yet divided by their sum, as a row for the micro-kernel: float32, or
// consecutive bfloat16. If the inputs are bfloat16, the probabilities are rounded to bfloat16.
template <class T>
struct Probabilities {
  using Number = float;
  static F put(float* to, F e, bool narrow) {
    if (narrow) {
      uint16_t rounded[kLanes];
      storeBfloat16(rounded, e, kLanes);
      e = loadBfloat16(rounded, kLanes);
    }
    store(to, e);
    return e;
  }
};
template <class T>
requires(T::group == 2) struct Probabilities<T> {
  using Number = uint16_t;
  static F put(uint16_t* to, F e, bool) {
    storeBfloat16(to, e, kLanes);
    return loadBfloat16(to, kLanes);
  }
};

// Calls f(address, column) for every register of a row of scores that holds at least one of the first n
// columns.
template <class Body>
inline CLIP_INLINE void eachRegister(float* s, size_t panelStride, int n, const Body& f) {
  int c = 0;
  for (; c + kCols <= n; c += kCols, s += panelStride) f(s, c), f(s + kLanes, c + kLanes);
  if (c < n) f(s, c);
  if (c + kLanes < n) f(s + kLanes, c + kLanes);
}

// Moves the scores of the keys that a query sees to the beginning of its row, because the softmax's lanes are
// numbered from the query's first key. The rest of the last register becomes -inf, whose exponential is 0.
// Returns the largest score.
inline float gatherScores(const AttentionPlan::Query& query, const int32_t* tail, float* s,
                          size_t panelStride) {
  const auto at = [&](int c)
                      CLIP_INLINE { return s + size_t(unsigned(c) / kCols) * panelStride + c % kCols; };
  const int seen = query.seen, rest = seen % kLanes;
  for (int j = query.run; j < seen; j++) *at(j) = *at(tail[j - query.run]);
  if (rest) store(at(seen - rest), firstLanes(load(at(seen - rest)), rest, all(-__builtin_inff())));
  F most = all(-__builtin_inff());
  eachRegister(s, panelStride, seen, [&](float* from, int) CLIP_INLINE { most = larger(most, load(from)); });
  return top(most);
}

// The softmax of a tile: turns the scores, which it overwrites, into probabilities at positions 0 .. end - 1
// of the list, followed by zeros up to a whole step. `inverse` receives 1 / the sum of each row. It passes
// over the rows three times, so that the latency of one row's maximum or sum across lanes is hidden by the
// work on the next row.
template <class T>
inline void softmaxRows(const AttentionPlan& plan, const AttentionPlan::Query* query, int rows, int end,
                        float scale, bool narrow, float* scores, char* probabilities, size_t stride,
                        float* inverse) {
  using Number = typename Probabilities<T>::Number;
  const size_t panelStride = size_t(rows) * kCols;
  float most[kTileRows];
  for (int r = 0; r < rows; r++)
    most[r] = gatherScores(query[r], plan.tails + query[r].firstTail, scores + r * kCols, panelStride);
  const F k = all(scale);
  F totals[kTileRows];
  for (int r = 0; r < rows; r++) {
    Number* const p = reinterpret_cast<Number*>(probabilities + r * stride);
    const F shift = all(most[r] * scale);
    F total = zero();
    eachRegister(scores + r * kCols, panelStride, query[r].seen, [&](float* from, int c) CLIP_INLINE {
      total = total + Probabilities<T>::put(p + c, exponential(fms(load(from), k, shift)), narrow);
    });
    totals[r] = total;
    for (int c = roundUp(query[r].seen, kLanes); c < end; c += kLanes)
      Probabilities<T>::put(p + c, zero(), false);
  }
  for (int r = 0; r < rows; r++) inverse[r] = 1.0f / sum(totals[r]);
  for (int r = 0; r < rows; r++) {
    Number* const p = reinterpret_cast<Number*>(probabilities + r * stride);
    const int run = query[r].run;
    const int32_t* const tail = plan.tails + query[r].firstTail;
    for (int j = query[r].seen - 1; j >= run; j--) {
      const Number e = p[j];
      p[j] = 0;
      p[tail[j - run]] = e;
    }
  }
}

struct AttentionScratch {
  size_t keys, values, scores, probabilities, sums, queries, own, total;  // offsets in floats
  size_t probabilityStride;                                               // bytes
  AttentionScratch(int longest, int dim) {
    const size_t columns = size_t(roundUp(longest, kCols));
    probabilityStride = lineStride(columns * sizeof(float));
    keys = 0;
    values = keys + columns * dim;
    scores = values + size_t(roundUp(dim, kCols)) * columns;
    probabilities = scores + columns * kTileRows;
    sums = probabilities + probabilityStride / sizeof(float) * kTileRows;
    queries = sums + size_t(kCols) * kTileRows;
    own = queries + size_t(roundUp(dim, kLanes)) * kTileRows;
    total = own + columns;
  }
};

// What is being computed: one head of one group of queries.
struct AttentionHead {
  const Attention& a;
  const AttentionPlan& plan;
  const AttentionScratch& at;
  float* scratch;
  size_t column;
};

// Returns the queries' rows in the form that the micro-kernel reads: in place if possible, otherwise copied
// to scratch memory.
template <class T>
inline const char* gatherQueries(const AttentionHead& h, const AttentionPlan::Query* query, int rows,
                                 size_t* stride) {
  const Attention& a = h.a;
  bool inPlace = a.dim % T::group == 0 && a.q.dtype == T::dtype;
  for (int r = 1; r < rows; r++) inPlace &= query[r].index == query[0].index + r;
  if (inPlace) {
    *stride = a.q.stride;
    return rowOf<char>(a.q, query[0].index) + h.column * bytesOf(T::dtype);
  }
  const int steps = stepsOf<T>(a.dim);
  float* to = h.scratch + h.at.queries;
  *stride = size_t(steps) * 4;
  for (int r = 0; r < rows; r++)
    for (int s = 0; s < steps; s += kLanes) {
      const int n = least(kLanes * T::group, a.dim - s * T::group);
      F v;
      if constexpr (T::group == 2)
        v = loadHalves(rowOf<uint16_t>(a.q, query[r].index) + h.column + s * 2, n);
      else
        v = loadNumbers(a.q, query[r].index, h.column + s, n);
      store(to + size_t(r) * steps + s, v, least(kLanes, steps - s));
    }
  return reinterpret_cast<const char*>(to);
}

// Attention of `rows` queries over the `count` packed keys.
template <class T>
void attentionTile(const AttentionHead& h, const AttentionPlan::Query* query, int rows, int count) {
  const Attention& a = h.a;
  const AttentionScratch& at = h.at;
  float *scratch = h.scratch, *scores = scratch + at.scores;
  F* sums = reinterpret_cast<F*>(scratch + at.sums);
  char* const probabilities = reinterpret_cast<char*>(scratch + at.probabilities);
  int end = 0;
  for (int r = 0; r < rows; r++) end = query[r].reach > end ? query[r].reach : end;
  size_t stride;
  const char* const q = gatherQueries<T>(h, query, rows, &stride);
  const Tile<T> f = pickTile<T, 0>(rows);
  const size_t panelStride = size_t(rows) * kCols;
  const int dimSteps = stepsOf<T>(a.dim);
  const char* keys = reinterpret_cast<const char*>(scratch + at.keys);
  for (int p = 0; p * kCols < end; p++)
    f(q, stride, keys + size_t(p) * dimSteps * kStepBytes, dimSteps, nullptr, true,
      reinterpret_cast<F*>(scores + p * panelStride));
  float inverse[kTileRows];
  const float scale = 1.0f / __builtin_sqrtf(float(a.dim));
  softmaxRows<T>(h.plan, query, rows, end, scale, a.q.dtype == Dtype::bfloat16, scores, probabilities,
                 at.probabilityStride, inverse);
  const char* values = reinterpret_cast<const char*>(scratch + at.values);
  for (int d = 0; d < a.dim; d += kCols, values += size_t(stepsOf<T>(count)) * kStepBytes) {
    constexpr int block = AttentionPlan::kBlock / T::group;
    for (int s = 0; s < stepsOf<T>(end); s += block)
      f(probabilities + size_t(s) * 4, at.probabilityStride, values + size_t(s) * kStepBytes,
        least(block, stepsOf<T>(end) - s), nullptr, s == 0, sums);
    for (int r = 0; r < rows; r++)
      for (int j = 0; j < 2 && d + j * kLanes < a.dim; j++)
        storeNumbers(a.out, query[r].index, h.column + d + j * kLanes,
                     fma(sums[r * 2 + j], all(inverse[r]), zero()), least(kLanes, a.dim - d - j * kLanes));
  }
}

// Attention of one query over packed keys that only this query uses.
template <class T>
void attentionAlone(const AttentionHead& h, const AttentionPlan::Query& query, const int32_t* keys) {
  int32_t* own = reinterpret_cast<int32_t*>(h.scratch + h.at.own);
  for (int j = 0; j < query.seen; j++)
    own[j] = keys[j < query.run ? j : h.plan.tails[query.firstTail + j - query.run]];
  packKeys<T>(h.a, own, query.seen, h.column, h.scratch + h.at.keys);
  packValues<T>(h.a, own, query.seen, h.column, h.scratch + h.at.values);
  AttentionPlan::Query alone = query;
  alone.run = alone.reach = query.seen;
  attentionTile<T>(h, &alone, 1, query.seen);
}

// With more keys than this, a single head takes so long that a stop request is also checked within it.
constexpr int kLongSequence = 4096;

// Queries [first, last) of a group.
template <class T>
void attentionGroup(const AttentionHead& h, const AttentionPlan::Group& g, int first, int last) {
  const AttentionPlan::Query* query = h.plan.queries + g.firstQuery;
  const int32_t* keys = h.plan.keys + g.firstKey;
  int count = 0;  // the keys that any query of this part sees lie before this place
  bool alike = true;
  for (int i = first; i < last; i++) {
    count = query[i].reach > count ? query[i].reach : count;
    alike &= query[i].run == query[first].run && query[i].run == query[i].seen;
  }
  packKeys<T>(h.a, keys, count, h.column, h.scratch + h.at.keys);
  if (!packValues<T>(h.a, keys, count, h.column, h.scratch + h.at.values) && !alike) {
    for (int i = first; i < last; i++) {
      endIfStopped();
      attentionAlone<T>(h, query[i], keys);
    }
    return;
  }
  const int tiles = (last - first + kTileRows - 1) / kTileRows;
  for (int t = 0, i = first; t < tiles; t++) {
    if (count > kLongSequence) endIfStopped();
    const int rows = (last - i) / (tiles - t);
    attentionTile<T>(h, query + i, rows, count);
    i += rows;
  }
}

// One unit of work is a head of a group. If there are fewer units than the threads can use, the group's
// queries are divided too.
template <class T>
void attentionOf(Context& context, const Attention& a) {
  if (a.queries <= 0 || a.rows <= 0) return;
  const AttentionPlan plan(a, kTileRows, T::group == 2);
  const int64_t heads = int64_t(plan.groupCount) * a.heads;
  int parts = 1;
  if (context.threads > 1 && heads < 2 * context.threads)
    parts = least(int((2 * context.threads + heads - 1) / heads),
                  1 + a.queries / plan.groupCount / (2 * kTileRows));
  const int64_t units = heads * parts;
  const double work = 2.0 * double(plan.pairCount) * a.heads * a.dim;
  const int chunks = chunksOf(units, 8 * context.threads, work);
  const AttentionScratch at(plan.longest, a.dim);
  share(context, chunks, work, [&](int chunk, int worker) {
    float* scratch = static_cast<float*>(context.memory(worker, at.total * sizeof(float)));
    for (int64_t u = units * chunk / chunks; u < units * (chunk + 1) / chunks; u++) {
      const AttentionPlan::Group& g = plan.groups[u / parts / a.heads];
      const int part = int(u % parts), head = int(u / parts % a.heads);
      const int first = int(int64_t(g.queryCount) * part / parts);
      const int last = int(int64_t(g.queryCount) * (part + 1) / parts);
      const AttentionHead h{a, plan, at, scratch, size_t(head) * a.dim};
      if (first < last) attentionGroup<T>(h, g, first, last);
    }
  });
}
