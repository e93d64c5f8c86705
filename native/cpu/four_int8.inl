// The products of four unsigned and four signed bytes, added to a 32-bit sum that does not saturate:
// vpdpbusd, sudot. Written once in terms of the primitive fourProducts(sum, x, w), which the including file
// defines for its own vector width and encoding.
struct FourInt8 {
  static constexpr Dtype dtype = Dtype::int8;
  static constexpr int group = 4, parts = 1, rows = kTileRows;
  using Step = int32_t;
  using Sum = I;
  static CLIP_INLINE PackedFactor input(Index<0>, Step x) { return packedFactor(x); }
  static CLIP_INLINE I weight(Index<0>, const char* w) { return loadInt(w); }
  static CLIP_INLINE Sum zeroSum() { return allInt(0); }
  static CLIP_INLINE Sum mac(Sum sum, PackedFactor x, I w) { return fourProducts(sum, x, w); }
  static CLIP_INLINE void prepareRow(uint8_t*, int, int32_t*) {}
};
