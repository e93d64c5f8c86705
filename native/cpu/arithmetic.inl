// The kinds of arithmetic that every CPU with the instruction set can run. One step is 4 bytes of a row of x
// and of each column of w: `group` inputs, which a tile processes in `parts` turns. The products of every
// turn are exact; sums are rounded in float32 or are integers.
//
//   kind of arithmetic    per step, row and register of columns
//   Float32               1 fma
//   Float16AsFloat32      1 fma, and 2 conversions of weights per step
//   Bfloat16AsFloat32     2 fma and 2 shifts of x: where the CPU has no bfloat16 products
//   Int8AsInt16           2 vpmaddwd and 2 vpaddd: where it has no VNNI. Never vpmaddubsw,
//                         whose 16-bit sums saturate at 255 * 127 * 2
//
//   ladder: six blocks of ViT-B/32's width, 50 rows, one thread, speed in units of float32 of the
//   same backend, by turns with it, least of 25 runs on a busy machine
//                         avx512  avx2
//   vdpbf16ps             1.88       -   kept
//   Bfloat16AsFloat32     0.94    0.98   kept: it halves the memory
//   vpdpbusd              3.09    3.07   kept
//   Int8AsInt16           1.08    1.18   kept
//   two turns unfenced    g++ 12 spills sums from 2 rows on: dropped
//   an unfinished step    in the tile it spills VNNI's sums from 11 rows on: addRest

struct Float32 {
  static constexpr Dtype dtype = Dtype::float32;
  static constexpr int group = 1, parts = 1, rows = kTileRows;
  using Step = float;
  using Sum = F;
  static CLIP_INLINE Factor input(Index<0>, Step x) { return factor(x); }
  static CLIP_INLINE F weight(Index<0>, const char* w) { return load(reinterpret_cast<const float*>(w)); }
  static CLIP_INLINE Sum zeroSum() { return zero(); }
  static CLIP_INLINE Sum mac(Sum sum, Factor x, F w) { return fma(x, w, sum); }
};

// Weights that float16 represents exactly, such as those of OpenAI's checkpoints: the sums are those of
// float32, from half as many bytes.
struct Float16AsFloat32 : Float32 {
  static constexpr int rows = kWidenedRows;
  static CLIP_INLINE F weight(Index<0>, const char* w) {
    return loadFloat16(reinterpret_cast<const uint16_t*>(w));
  }
};

struct Bfloat16AsFloat32 {
  static constexpr Dtype dtype = Dtype::bfloat16;
  static constexpr int group = 2, parts = 2, rows = kShiftedRows;
  using Step = int32_t;
  using Sum = F;
  static CLIP_INLINE Factor input(Index<0>, Step x) { return lowFactor(x); }
  static CLIP_INLINE Factor input(Index<1>, Step x) { return highFactor(x); }
  static CLIP_INLINE F weight(Index<0>, const char* w) { return lowHalves(loadInt(w)); }
  static CLIP_INLINE F weight(Index<1>, const char* w) { return highHalves(loadInt(w)); }
  static CLIP_INLINE Sum zeroSum() { return zero(); }
  static CLIP_INLINE Sum mac(Sum sum, Factor x, F w) { return fma(x, w, sum); }
};

struct Int8AsInt16 {
  static constexpr Dtype dtype = Dtype::int8;
  static constexpr int group = 4, parts = 2, rows = kTileRows - 1;  // one register is left for the products
  using Step = int32_t;
  using Sum = I;
  static CLIP_INLINE I input(Index<0>, Step x) { return lowBytes(allInt(x)); }
  static CLIP_INLINE I input(Index<1>, Step x) { return highBytes(allInt(x)); }
  static CLIP_INLINE I weight(Index<0>, const char* w) { return lowSigned(loadInt(w)); }
  static CLIP_INLINE I weight(Index<1>, const char* w) { return highSigned(loadInt(w)); }
  static CLIP_INLINE Sum zeroSum() { return allInt(0); }
  static CLIP_INLINE Sum mac(Sum sum, I x, I w) { return addBytePairs(sum, x, w); }
  // Any further preparation that a quantised row of n bytes needs before the products, in place. It may
  // change the row's zero point.
  static CLIP_INLINE void prepareRow(uint8_t*, int, int32_t*) {}
};
