// Pairs of bfloat16: each product pair is added to the sum, rounded to nearest even, subnormals flushed.
struct PairedBfloat16 {
  static constexpr Dtype dtype = Dtype::bfloat16;
  static constexpr int group = 2, parts = 1, rows = kTileRows;
  using Step = int32_t;
  using Sum = F;
  static CLIP_INLINE I input(Index<0>, Step x) { return allInt(x); }
  static CLIP_INLINE I weight(Index<0>, const char* w) { return loadInt(w); }
  static CLIP_INLINE Sum zeroSum() { return zero(); }
  static CLIP_INLINE Sum mac(Sum sum, I x, I w) { return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w); }
};
