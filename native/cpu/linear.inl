// y = f(x w + bias) + residual (for ReLU, the activation comes last), and the register tile that attention
// uses too.
//
// Activations stay row-major and are broadcast 4 bytes at a time; the weights are one sequential stream
// (pack.inl). A panel's weights pass through the second-level cache once per 208 rows; the sums of a row
// block and panel stay in `part`, in the first-level cache. Every sum runs over the inputs in the same order,
// whatever the tile, so the number of rows and threads cannot change a bit of the result.
//
//   ladder: one thread unless said, percent of that CPU's peak, weights from memory
//   Zen 4 (float32 peak 118 GFLOP/s)
//   ordinary loops: 14 rows 98, 12 rows 37 (sums in memory)              dropped
//   unrolled by language, tiles of nearly equal height: 3 to 14 rows 97 to 99   kept
//   next weights prefetched into L2: 50 rows +1 to 3, 10 rows +18 to 35, 1 row halves   kept from 3 rows
//   epilogue inside the tile: +1 at 768 inputs, the hot function grows   dropped
//   avx2: 6 x 16 99, 5 x 16 94, 4 x 16 91                                kept
//   Zen 5 (float32 236, bfloat16 480, int8 940), shared host; float32 / bfloat16 / int8
//   the tile alone from L1 96 to 100, from L2 95 to 97, 8 to 14 rows: shape and K block stay
//   no prefetch: 50 x 768 x 2304 82 -> 75 / 86 -> 72 / 77 -> 60          dropped
//   prefetch for any number of tiles, in the first 4: 400 rows 84 -> 88 / 80 -> 85 / 74 -> 79   kept
//   an epilogue per activation and residual: 50 x 768 x 2304 - / 74 -> 79 / 72 -> 79   kept
//   y prefetched before its tile: 0; vrcp14ps in QuickGELU: 0            dropped
//   2 threads, a run of chunks for each (Runs): 10 rows, fastest 0 / +0 to 4 / +2 to 4   kept
//   float16 weights of float32 numbers: 10 rows 131 -> 86, 36 -> 27, 140 -> 110, 139 -> 106 us   kept
//     50 rows, widened once per panel or by each tile: both as float32, within the noise of 5. Once: kept, for
//     CPUs whose conversions take the ports of the products
//   blocks of 208 rows for 168, 8 images of 50 rows, by turns: float32 -1.4 %, bfloat16 -0.7, int8 -1.5
//     (3 of 3, 3 of 3, 5 of 6 pairs); RN50 0                             kept
//   10 rows are bound by memory: float32 34 to 37 GB/s of 33 to 38

constexpr int kRowBlock = 208;
constexpr int kStepBlock = 768;
constexpr int kStepBytes = kCols * 4;
template <class T>
constexpr bool widens = __is_same(T, Float16AsFloat32);
template <class T>
constexpr int stepBytes = widens<T> ? kStepBytes / 2 : kStepBytes;  // of packed weights
// From this number of tiles on, float16 weights are widened once for all tiles, into the second-level cache.
constexpr int kWidenedTiles = 3;

// The packed layout, as written by pack.inl.
constexpr int groupOf(Dtype d) { return 4 / int(bytesOf(d)); }
inline size_t panelBytes(Dtype d, int in) {
  if (d == Dtype::float16) return size_t(in) * kCols * 2;
  return size_t((in + groupOf(d) - 1) / groupOf(d)) * kCols * 4;
}
inline size_t panelsBytes(Dtype d, int in, int out) {
  return panelBytes(d, in) * (roundUp(out, kCols) / kCols);
}

// The first n bytes at p (n is 1 to 3), padded with zeros.
inline CLIP_INLINE int32_t firstBytes(const char* p, int n) {
  uint32_t v = uint8_t(p[0]);
  if (n > 1) v |= uint32_t(uint8_t(p[1])) << 8;
  if (n > 2) v |= uint32_t(uint8_t(p[2])) << 16;
  return int32_t(v);
}

// Computes Rows x kCols sums over `steps` and adds them to `part`, or stores them there if `fresh`. Every two
// steps it prefetches `Lines` cache lines of `next`. T is one of the types in arithmetic.inl.
// test/kernels/tiles.test.ts disassembles this function to check that every accumulator stays in a register
// inside the loop.
template <class T, int Rows, int Lines>
__attribute__((noinline)) void tile(const char* x, size_t stride, const char* w, int steps, const char* next,
                                    bool fresh, typename T::Sum* part) {
  typename T::Sum sum[Rows][2];
  // Floats are summed per block of steps, and the block's sum is added to the sums before it: a single chain
  // of thousands of additions would have a rounding error several times larger.
  constexpr bool blockwise = __is_same(typename T::Sum, F);
  if (fresh || blockwise)
    each<Rows>([&](auto i) CLIP_INLINE { sum[i][0] = sum[i][1] = T::zeroSum(); });
  else
    each<Rows>([&](auto i) CLIP_INLINE { sum[i][0] = part[i * 2], sum[i][1] = part[i * 2 + 1]; });
  const auto step = [&](int s) CLIP_INLINE {
    each<T::parts>([&](auto turn) CLIP_INLINE {
      const auto w0 = T::weight(turn, w + size_t(s) * stepBytes<T>);
      const auto w1 = T::weight(turn, w + size_t(s) * stepBytes<T> + stepBytes<T> / 2);
      each<Rows>([&](auto i) CLIP_INLINE {
        typename T::Step v;
        __builtin_memcpy(&v, x + i * stride + size_t(s) * 4, 4);
        const auto b = T::input(turn, v);
        sum[i][0] = T::mac(sum[i][0], b, w0);
        sum[i][1] = T::mac(sum[i][1], b, w1);
        // Keeps this order: otherwise g++ would keep x for both turns, or compute all products before the
        // first sum, and run out of registers.
        if constexpr (T::parts > 1) holdInRegisters(sum[i][0], sum[i][1]);
      });
      endTurn();
    });
  };
  int s = 0;
  for (; s + 2 <= steps; s += 2) {
    each<Lines>([&](auto l) CLIP_INLINE { __builtin_prefetch(next + l * 64, 0, 2); });
    next += Lines * 64;
    step(s);
    step(s + 1);
  }
  if (s < steps) step(s);
  if constexpr (blockwise)
    if (!fresh)
      each<Rows>([&](auto i) CLIP_INLINE {
        sum[i][0] = part[i * 2] + sum[i][0], sum[i][1] = part[i * 2 + 1] + sum[i][1];
      });
  each<Rows>([&](auto i) CLIP_INLINE { part[i * 2] = sum[i][0], part[i * 2 + 1] = sum[i][1]; });
}

// The same for the first `rest` bytes of one step. It is a separate function because inside `tile` it would
// cost registers.
template <class T>
__attribute__((noinline)) void addRest(const char* x, size_t stride, const char* w, int rows, int rest,
                                       typename T::Sum* part) {
  for (int i = 0; i < rows; i++, x += stride) {
    const typename T::Step v = firstBytes(x, rest);
    each<T::parts>([&](auto turn) CLIP_INLINE {
      for (int j = 0; j < 2; j++)
        part[i * 2 + j] =
            T::mac(part[i * 2 + j], T::input(turn, v), T::weight(turn, w + j * (kStepBytes / 2)));
    });
  }
}

template <class T>
using Tile = void (*)(const char*, size_t, const char*, int, const char*, bool, typename T::Sum*);
template <class T>
struct TileRow {
  Tile<T> of[T::rows];
};
template <class T, int Lines, int... I>
constexpr TileRow<T> tileRow(std::integer_sequence<int, I...>) {
  return {{tile<T, I + 1, Lines>...}};
}
template <class T, int Lines>
inline Tile<T> pickTile(int rows) {
  static constexpr TileRow<T> table = tileRow<T, Lines>(std::make_integer_sequence<int, T::rows>{});
  return table.of[rows - 1];
}

// Whether an arithmetic has a tile of its own (avx512_amx.cc). It then defines T::Tile, which replaces the
// functions above, and T::rest(), which is called after each block of tiles.
template <class T>
constexpr bool ownTile = requires {
  typename T::Tile;
};

// The tile of that height that prefetches `lines` lines. Sanitizer builds contain only the one without
// prefetches: a prefetch is not an access that a sanitizer could check, and a third of the tiles compiles in
// a third of the time.
template <class T, int All>
inline auto tileFor(int rows, [[maybe_unused]] int lines) {
  if constexpr (ownTile<T>) {
    return typename T::Tile{rows, lines};
  } else {
#ifndef CLIP_SANITIZE
    if (lines == 1) return pickTile<T, 1>(rows);
    if (lines == All) return pickTile<T, All>(rows);
#endif
    return pickTile<T, 0>(rows);
  }
}

// The epilogue of `rows` rows from `row` on, for the columns col .. col + kCols - 1 that exist. The fields of
// `l` are copied to locals first, because as far as the compiler knows a store to y may change them.
template <class T, Activation Kind, bool Residual>
__attribute__((noinline)) void finish(const typename T::Sum* part, int rows, const Linear& l, int row,
                                      int col) {
  const size_t yStride = l.y.stride, residualStride = l.residual.stride;
  constexpr bool centred8 = T::dtype == Dtype::int8;
  [[maybe_unused]] const float* rowScale = centred8 ? l.x.rowScale + row : nullptr;
  [[maybe_unused]] const int32_t* rowZero = centred8 ? l.x.rowZero + row : nullptr;
  const bool narrow = l.y.dtype == Dtype::bfloat16;
  for (int j = 0; j < 2; j++) {
    const int c = col + j * kLanes, n = least(kLanes, l.out - c);
    if (n <= 0) return;
    const F bias = l.bias ? load(l.bias + c, n) : zero();
    [[maybe_unused]] F scale = zero();
    [[maybe_unused]] I bytes = allInt(0);
    if constexpr (centred8) {
      const char* columns = static_cast<const char*>(l.w) + panelsBytes(T::dtype, l.in, l.out);
      scale = load(reinterpret_cast<const float*>(columns) + c, n);
      bytes = loadInt(reinterpret_cast<const int32_t*>(columns) + roundUp(l.out, kCols) + c, n);
    }
    const auto eachRow = [&](size_t size, const auto& keep) CLIP_INLINE {
      char* y = outRow<char>(l.y, row) + size_t(c) * size;
      const char* residual = Residual ? rowOf<char>(l.residual, row) + size_t(c) * sizeof(float) : nullptr;
      for (int i = 0; i < rows; i++, y += yStride) {
        F v;
        if constexpr (centred8) {
          const I centred = subtract(part[i * 2 + j], multiply(allInt(rowZero[i]), bytes));
          v = toFloat(centred) * (all(rowScale[i]) * scale) + bias;
        } else {
          v = part[i * 2 + j] + bias;
        }
        if constexpr (Kind == Activation::quickGelu) v = quickGelu(v);
        if constexpr (Kind == Activation::gelu) v = gelu(v);
        if constexpr (Kind == Activation::geluTanh) v = geluTanh(v);
        if constexpr (Kind == Activation::sigmoid) v = sigmoid(v);
        if constexpr (Residual) {
          v = v + load(reinterpret_cast<const float*>(residual), n);
          residual += residualStride;
        }
        if constexpr (Kind == Activation::relu) v = larger(zero(), v);  // NaN stays NaN
        keep(y, v);
      }
    };
    if (narrow)
      eachRow(2, [&](char* y, F v) CLIP_INLINE { storeBfloat16(reinterpret_cast<uint16_t*>(y), v, n); });
    else if (n == kLanes)
      eachRow(4, [&](char* y, F v) CLIP_INLINE { store(reinterpret_cast<float*>(y), v); });
    else
      eachRow(4, [&](char* y, F v) CLIP_INLINE { store(reinterpret_cast<float*>(y), v, n); });
  }
}

template <class T, bool Residual>
inline void finishKind(const typename T::Sum* part, int rows, const Linear& l, int row, int col) {
  switch (l.activation) {
    case Activation::none:
      return finish<T, Activation::none, Residual>(part, rows, l, row, col);
    case Activation::quickGelu:
      return finish<T, Activation::quickGelu, Residual>(part, rows, l, row, col);
    case Activation::gelu:
      return finish<T, Activation::gelu, Residual>(part, rows, l, row, col);
    case Activation::relu:
      return finish<T, Activation::relu, Residual>(part, rows, l, row, col);
    case Activation::geluTanh:
      return finish<T, Activation::geluTanh, Residual>(part, rows, l, row, col);
    case Activation::sigmoid:
      return finish<T, Activation::sigmoid, Residual>(part, rows, l, row, col);
  }
}
template <class T>
inline void finishTile(const typename T::Sum* part, int rows, const Linear& l, int row, int col) {
  (l.residual.data ? finishKind<T, true> : finishKind<T, false>)(part, rows, l, row, col);
}

// Widens `steps` steps of a panel of float16 weights to float32.
inline void widenPanel(const char* w, int steps, float* wide) {
  for (int s = 0; s < steps; s++, w += stepBytes<Float16AsFloat32>, wide += kCols)
    for (int j = 0; j < 2; j++)
      store(wide + j * kLanes, loadFloat16(reinterpret_cast<const uint16_t*>(w) + j * kLanes));
}

// Panels [p0, p1) of rows [r0, r0 + rows), where rows <= kRowBlock, in tiles of nearly equal height.
// `widened` is only for float16 weights: room for kStepBlock steps, or nullptr if each tile widens its own
// weights.
template <class T>
void linearBlock(const Linear& l, int r0, int rows, int p0, int p1,
                 [[maybe_unused]] float* widened = nullptr) {
  const int steps = (l.in + T::group - 1) / T::group, tiles = (rows + T::rows - 1) / T::rows;
  const int blocks = steps < 1 ? 1 : (steps + kStepBlock - 1) / kStepBlock;
  constexpr int kAll = stepBytes<T> * 2 / 64;  // cache lines of weights per two steps
  const int ahead = rows <= 2 ? 0 : tiles <= 2 ? kAll : 1;
  alignas(64) typename T::Sum part[(kRowBlock + T::rows) * 2];
  for (int p = p0; p < p1; p++) {
    for (int s0 = 0, b = 0; b < blocks; b++) {
      const int n = b + 1 == blocks ? steps - s0 : (steps / blocks + 3) / 4 * 4;
      const int rest =
          b + 1 == blocks ? l.in % T::group * (4 / T::group) : 0;  // bytes used of the last step; 0 means all
      const char* w = static_cast<const char*>(l.w) + (size_t(p) * steps + s0) * stepBytes<T>;
      const char* const after = w + size_t(n) * stepBytes<T>;
      if constexpr (widens<T>)
        if (widened) {
          widenPanel(w, n, widened);
          w = reinterpret_cast<const char*>(widened);
        }
      for (int t = 0, r = r0; t < tiles; t++) {
        const int height = (r0 + rows - r) / (tiles - t);
        const int lines = t < kAll ? ahead : 0;
        auto f = tileFor<T, kAll>(height, lines);
        if constexpr (widens<T>)
          if (widened) f = tileFor<Float32, kStepBytes * 2 / 64>(height, lines);
        typename T::Sum* sums = part + (r - r0) * 2;
        const char* next = after + size_t(t) * (n / 2) * lines * 64;
        const char* x = static_cast<const char*>(l.x.data) + size_t(r) * l.x.stride + size_t(s0) * 4;
        f(x, l.x.stride, w, n - (rest > 0), next, b == 0, sums);
        if constexpr (T::group > 1)
          if (rest > 0) addRest<T>(x + size_t(n - 1) * 4, l.x.stride, after - kStepBytes, height, rest, sums);
        if (b + 1 == blocks) finishTile<T>(sums, height, l, r, p * kCols);
        r += height;
      }
      s0 += n;
    }
  }
  if constexpr (ownTile<T>) T::rest();
}

// Distributes the chunks of a parallel loop as runs of neighbouring chunks: each worker first works through
// its own run and then takes chunks from the others' runs. So the panel that a worker computes next is the
// one whose weights it has prefetched.
struct Runs {
  int chunks, count, taken[kMaxThreads];
  Runs(int c, int threads) : chunks(c), count(least(c, threads)) {
    for (int i = 0; i < count; i++) taken[i] = 0;
  }
  int begin(int run) const { return int(int64_t(chunks) * run / count); }
  // Called exactly once per chunk, so there is always a chunk left: a run that was found empty stays empty.
  int take(int worker) {
    for (int i = worker;; i++) {
      const int run = i % count, first = begin(run), length = begin(run + 1) - first;
      const int n = __atomic_fetch_add(&taken[run], 1, __ATOMIC_RELAXED);
      if (n < length) return first + n;
    }
  }
};

// Threads divide the panels among themselves, so that each streams only its own weights; if there are few
// panels, they also divide the row blocks.
template <class T>
void linearOf(Context& context, const Linear& l) {
  if (l.rows <= 0 || l.out <= 0) return;
  const int panels = (l.out + kCols - 1) / kCols, rowBlocks = (l.rows + kRowBlock - 1) / kRowBlock;
  const int wanted = context.threads == 1 ? 1 : 4 * context.threads;
  const int panelChunks = least(panels, wanted),
            rowChunks = least(rowBlocks, (wanted + panelChunks - 1) / panelChunks);
  Runs runs(panelChunks * rowChunks, context.threads);
  share(context, panelChunks * rowChunks, double(l.rows) * l.in * l.out, [&](int, int worker) {
    const int chunk = runs.take(worker);
    float* widened = nullptr;
    if constexpr (widens<T>)
      if ((least(l.rows, kRowBlock) + T::rows - 1) / T::rows >= kWidenedTiles)
        widened = static_cast<float*>(context.memory(worker, kStepBlock * kStepBytes));
    const int p = chunk % panelChunks, q = chunk / panelChunks;
    const int p0 = int(int64_t(panels) * p / panelChunks), p1 = int(int64_t(panels) * (p + 1) / panelChunks);
    const int b0 = int(int64_t(rowBlocks) * q / rowChunks),
              b1 = int(int64_t(rowBlocks) * (q + 1) / rowChunks);
    for (int b = b0; b < b1; b++) {
      endIfStopped();
      const int r0 = int(int64_t(l.rows) * b / rowBlocks), r1 = int(int64_t(l.rows) * (b + 1) / rowBlocks);
      linearBlock<T>(l, r0, r1 - r0, p0, p1, widened);
    }
  });
}
