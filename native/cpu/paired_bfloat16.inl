// Products of pairs of bfloat16: vdpbf16ps, bfdot. Written once in terms of the primitive pairProducts(sum,
// x, w), which the including file defines for its own vector width and where the rounding of a pair is
// described.
struct PairedBfloat16 {
  static constexpr Dtype dtype = Dtype::bfloat16;
  static constexpr int group = 2, parts = 1, rows = kTileRows;
  using Step = int32_t;
  using Sum = F;
  static CLIP_INLINE PackedFactor input(Index<0>, Step x) { return packedFactor(x); }
  static CLIP_INLINE I weight(Index<0>, const char* w) { return loadInt(w); }
  static CLIP_INLINE Sum zeroSum() { return zero(); }
  static CLIP_INLINE Sum mac(Sum sum, PackedFactor x, I w) { return pairProducts(sum, x, w); }
};
