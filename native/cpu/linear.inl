// y = f(x w + bias) + residual (relu last), and the tile that attention uses too.
//
// Activations stay row-major and are broadcast 4 bytes at a time; weights are packed as [out /
// kCols][in][kCols], one linear stream. A panel's weights go through the second-level cache once per 168
// rows; sums of a row block and panel live in `part`, in the first-level cache. Every sum runs over the
// inputs in order, whatever the tile: rows and threads cannot show in the bits.
//
//   ladder, float32, one core, percent of peak (118 GFLOP/s)
//   14 x 32, ordinary loops          14 and 13 rows 98, 12 and 10 rows 37   dropped: sums of some heights in
//   memory the same, unrolled by language   heights 3 to 14: 97 to 99              kept tiles of nearly equal
//   height     50 = 12 + 12 + 13 + 13, no stump       kept next weights prefetched into L2  50 rows +1 to 3,
//   10 rows 81 -> 97      kept; halves 1 row: off below 3 together, weights from DRAM      50 x 768 x 2304:
//   95, 50 x 3072 x 768: 97 epilogue in the tile             about +1 at 768 inputs                 dropped:
//   the hot function grows avx2: 6 x 16 in cache            99 (5 x 16: 94, 4 x 16: 91)            kept

constexpr int kCols = 2 * kLanes;
constexpr int kRowBlock = 168;
constexpr int kStepBlock = 768;
constexpr int kStepBytes = kCols * 4;

// One kind of arithmetic: `group` inputs per 4-byte step of x and w.
struct Float32 {
  static constexpr int group = 1;
  using Sum = F;
  using Weight = F;
  static CLIP_INLINE F broadcast(const char* x) { return all(*reinterpret_cast<const float*>(x)); }
  static CLIP_INLINE Weight weight(const char* w) { return load(reinterpret_cast<const float*>(w)); }
  static CLIP_INLINE Sum zeroSum() { return zero(); }
  static CLIP_INLINE Sum mac(Sum sum, F x, Weight w) { return fma(x, w, sum); }
};

// Rows x kCols sums over `steps`, added to or stored in `part`. Lines: cache lines of `next` prefetched per
// two steps.
template <class T, int Rows, int Lines>
__attribute__((noinline)) void tile(const char* x, size_t stride, const char* w, int steps, const char* next,
                                    bool fresh, typename T::Sum* part) {
  typename T::Sum sum[Rows][2];
  if (fresh)
    each<Rows>([&](auto i) CLIP_INLINE { sum[i][0] = sum[i][1] = T::zeroSum(); });
  else
    each<Rows>([&](auto i) CLIP_INLINE { sum[i][0] = part[i * 2], sum[i][1] = part[i * 2 + 1]; });
  const auto step = [&](int s) CLIP_INLINE {
    const typename T::Weight w0 = T::weight(w + size_t(s) * kStepBytes);
    const typename T::Weight w1 = T::weight(w + size_t(s) * kStepBytes + kStepBytes / 2);
    each<Rows>([&](auto i) CLIP_INLINE {
      const auto b = T::broadcast(x + i * stride + size_t(s) * 4);
      sum[i][0] = T::mac(sum[i][0], b, w0);
      sum[i][1] = T::mac(sum[i][1], b, w1);
    });
  };
  int s = 0;
  for (; s + 2 <= steps; s += 2) {
    each<Lines>([&](auto l) CLIP_INLINE { _mm_prefetch(next + l * 64, _MM_HINT_T1); });
    next += Lines * 64;
    step(s);
    step(s + 1);
  }
  if (s < steps) step(s);
  each<Rows>([&](auto i) CLIP_INLINE { part[i * 2] = sum[i][0], part[i * 2 + 1] = sum[i][1]; });
}

template <class T>
using Tile = void (*)(const char*, size_t, const char*, int, const char*, bool, typename T::Sum*);
template <class T>
struct TileRow {
  Tile<T> of[kTileRows];
};
template <class T, int Lines, int... I>
constexpr TileRow<T> tileRow(std::integer_sequence<int, I...>) {
  return {{tile<T, I + 1, Lines>...}};
}
template <class T, int Lines>
inline Tile<T> pickTile(int rows) {
  static constexpr TileRow<T> table = tileRow<T, Lines>(std::make_integer_sequence<int, kTileRows>{});
  return table.of[rows - 1];
}

// The epilogue of `rows` rows from `row` on, columns col .. col + kCols - 1 as far as they exist.
__attribute__((noinline)) void finishTile(const F* part, int rows, const Linear& l, int row, int col) {
  for (int j = 0; j < 2; j++) {
    const int c = col + j * kLanes, n = least(kLanes, l.out - c);
    if (n <= 0) return;
    const F bias = l.bias ? load(l.bias + c, n) : zero();
    for (int i = 0; i < rows; i++) {
      F v = part[i * 2 + j] + bias;
      if (l.nonlinearity == Nonlinearity::quickGelu) v = quickGelu(v);
      if (l.nonlinearity == Nonlinearity::gelu) v = gelu(v);
      if (l.residual.data) v = v + load(rowOf(l.residual, row + i) + c, n);
      if (l.nonlinearity == Nonlinearity::relu) v = larger(zero(), v);  // NaN stays NaN
      store(outRow(l.y, row + i) + c, v, n);
    }
  }
}

// Panels [p0, p1) of rows [r0, r0 + rows), rows <= kRowBlock, cut into tiles of nearly equal height.
template <class T>
void linearBlock(const Linear& l, int r0, int rows, int p0, int p1, bool streaming) {
  const int steps = (l.in + T::group - 1) / T::group, tiles = (rows + kTileRows - 1) / kTileRows;
  const int blocks = steps < 1 ? 1 : (steps + kStepBlock - 1) / kStepBlock;
  constexpr int kAll = kStepBytes * 2 / 64;  // cache lines of weights per two steps
  const int lines = !streaming || rows <= 2 || tiles > 8 ? 0 : tiles <= 2 ? kAll : 1;
  alignas(64) typename T::Sum part[(kRowBlock + kTileRows) * 2];
  for (int p = p0; p < p1; p++) {
    for (int s0 = 0, b = 0; b < blocks; b++) {
      const int n = b + 1 == blocks ? steps - s0 : (steps / blocks + 3) / 4 * 4;
      const char* w = static_cast<const char*>(l.w) + (size_t(p) * steps + s0) * kStepBytes;
      for (int t = 0, r = r0; t < tiles; t++) {
        const int height = (r0 + rows - r) / (tiles - t);
        const Tile<T> f = lines == 0   ? pickTile<T, 0>(height)
                          : lines == 1 ? pickTile<T, 1>(height)
                                       : pickTile<T, kAll>(height);
        typename T::Sum* sums = part + (r - r0) * 2;
        const char* next = w + size_t(n) * kStepBytes + size_t(t) * (n / 2) * lines * 64;
        f(static_cast<const char*>(l.x.data) + size_t(r) * l.x.stride + size_t(s0) * 4, l.x.stride, w, n,
          next, b == 0, sums);
        if (b + 1 == blocks) finishTile(sums, height, l, r, p * kCols);
        r += height;
      }
      s0 += n;
    }
  }
}

// Threads share panels, so that each streams only its own weights; row blocks too when there are few panels.
void linear(Context& context, const Linear& l) {
  if (l.rows <= 0 || l.out <= 0) return;
  const int panels = (l.out + kCols - 1) / kCols, rowBlocks = (l.rows + kRowBlock - 1) / kRowBlock;
  const int wanted = context.threads == 1 ? 1 : 4 * context.threads;
  const int panelChunks = least(panels, wanted),
            rowChunks = least(rowBlocks, (wanted + panelChunks - 1) / panelChunks);
  share(context, panelChunks * rowChunks, double(l.rows) * l.in * l.out, [&](int chunk, int) {
    const int p = chunk % panelChunks, q = chunk / panelChunks;
    const int p0 = int(int64_t(panels) * p / panelChunks), p1 = int(int64_t(panels) * (p + 1) / panelChunks);
    const int b0 = int(int64_t(rowBlocks) * q / rowChunks),
              b1 = int(int64_t(rowBlocks) * (q + 1) / rowChunks);
    for (int b = b0; b < b1; b++) {
      const int r0 = int(int64_t(l.rows) * b / rowBlocks), r1 = int(int64_t(l.rows) * (b + 1) / rowBlocks);
      linearBlock<Float32>(l, r0, r1 - r0, p0, p1, rowBlocks == 1);
    }
  });
}

size_t packedSize(Dtype, int in, int out) { return size_t(roundUp(out, kCols)) * in * sizeof(float); }

// Ladder: plain loops over kCols rows at a time 9.3 GB/s, kept; 16 x 16 register transposes 5.1.
void pack(const Pack& p) {
  for (int first = 0; first < p.rowCount; first += kCols) {
    const int n = least(kCols, p.rowCount - first);
    float* dst = static_cast<float*>(p.dst) + size_t(p.firstRow + first) * p.in;
    const float* rows = p.rows + size_t(first) * p.rowStride;
    for (int k = 0; k < p.in; k++, dst += kCols)
      for (int c = 0; c < kCols; c++) dst[c] = c < n ? rows[size_t(c) * p.rowStride + k] : 0.0f;
  }
}
