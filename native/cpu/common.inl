// What every kernel uses. Like all .inl files it is included inside a target region and an unnamed namespace,
// after the vector types and primitives of that instruction set: F, kLanes, load, store, all, fma, ...
// Neither this file nor those may call a function template of the standard library: its instantiation,
// compiled for this region's instructions, could replace the portable one of another file.

#define CLIP_INLINE __attribute__((always_inline))

template <int I>
struct Index {
  CLIP_INLINE constexpr operator int() const { return I; }
};

// Calls f(0), f(1), ... f(N - 1), unrolled by the language. Loops, even with #pragma GCC unroll, left the
// accumulators of some tile heights in memory (g++ 12): those tiles ran at 37 to 57 % of peak instead of 98
// %. Every lambda passed to it is always_inline for the same reason (without it: 20 %).
template <int... I, class Fn>
inline CLIP_INLINE void eachOf(std::integer_sequence<int, I...>, const Fn& f) {
  (f(Index<I>{}), ...);
}
template <int N, class Fn>
inline CLIP_INLINE void each(const Fn& f) {
  eachOf(std::make_integer_sequence<int, N>{}, f);
}

constexpr int kCols = 2 * kLanes;  // columns of a panel of packed weights

inline int least(int a, int b) { return a < b ? a : b; }
inline int roundUp(int a, int to) { return (a + to - 1) / to * to; }

template <class T = float>
inline const T* rowOf(const MatrixView& a, int r) {
  return reinterpret_cast<const T*>(static_cast<const char*>(a.data) + size_t(r) * a.stride);
}
template <class T = float>
inline T* outRow(const MatrixView& a, int r) {
  return reinterpret_cast<T*>(static_cast<char*>(a.data) + size_t(r) * a.stride);
}

// Loads n numbers of a float32 or bfloat16 matrix, starting at row r, column c.
inline CLIP_INLINE F loadNumbers(const MatrixView& a, int r, size_t c, int n) {
  return a.dtype == Dtype::bfloat16 ? loadBfloat16(rowOf<uint16_t>(a, r) + c, n) : load(rowOf(a, r) + c, n);
}
inline CLIP_INLINE void storeNumbers(const MatrixView& a, int r, size_t c, F v, int n) {
  if (a.dtype == Dtype::bfloat16)
    storeBfloat16(outRow<uint16_t>(a, r) + c, v, n);
  else
    store(outRow(a, r) + c, v, n);
}

// For less work than this many multiply-adds (about 10 microseconds), waking other threads does not pay off.
constexpr double kWorthSharing = 3e5;
// A chunk with more work than this (some hundredths of a second) is divided further, so that a stop request
// takes effect soon.
constexpr double kChunkWork = 1e9;

// Runs body(chunk, worker) for every chunk, on as many threads as are worthwhile for `work` multiply-adds.
template <class Body>
inline void share(const Context& context, int chunks, double work, const Body& body) {
  parallelFor(
      work < kWorthSharing ? 1 : context.threads, chunks,
      [](const void* b, int chunk, int worker) { (*static_cast<const Body*>(b))(chunk, worker); }, &body);
}

// The number of chunks for `units` of work: `wanted`, or more if each chunk would take too long.
inline int chunksOf(int64_t units, int64_t wanted, double work) {
  const double long_ = work / kChunkWork;
  if (long_ > double(wanted)) wanted = long_ < 1 << 20 ? int64_t(long_) + 1 : 1 << 20;
  return int(units < wanted ? units : wanted);
}

// Runs body(r, worker) for every row; each thread gets a few runs of consecutive rows.
template <class Body>
inline void shareRowsByWorker(const Context& context, int rows, double workPerRow, const Body& body) {
  const int chunks = chunksOf(rows, context.threads == 1 ? 1 : 4 * context.threads, workPerRow * rows);
  share(context, chunks, workPerRow * rows, [&](int chunk, int worker) {
    for (int r = int(int64_t(rows) * chunk / chunks); r < int(int64_t(rows) * (chunk + 1) / chunks); r++)
      body(r, worker);
  });
}
template <class Body>
inline void shareRows(const Context& context, int rows, double workPerRow, const Body& body) {
  shareRowsByWorker(context, rows, workPerRow, [&](int r, int) { body(r); });
}
