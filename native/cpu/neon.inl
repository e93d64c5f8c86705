// The vector types and primitives and the tile sizes of neon.
//
// A vector is two registers of four lanes, so that a panel is 16 columns wide, as in avx2.
//
//   ladder, float32: calculated from instructions per step, nothing was timed on hardware
//   tile      x       registers, of 32    loads per fmla
//   6 x 16    lane    24 + 4 + 1 = 29     10 / 24    kept: `ldr s` is a load and nothing else
//   6 x 16    ld1r    24 + 4 + 1 = 29     10 / 24    dropped: its copy takes a vector operation of 30 in 6
//   8 x 12    lane    24 + 3 + 1 = 28     11 / 24    dropped: panels of another width for nothing
//   7 x 16    lane    28 + 4 + 1 = 33        -       dropped: does not fit
//
//   in one step               rows    instructions (g++ 12's)    products
//   fmla                       6      35.5, of them 24            96
//   bfdot                      6      35.5, of them 24            192
//   sdot, sudot                6      35.5, of them 24            384
//   mul and sadalp             5      129, of them 80             320
//   fmla, bfloat16 shifted     5      80, of them 40              160

#define CLIP_VECTOR inline __attribute__((always_inline))

struct __attribute__((may_alias)) F {
  float32x4_t low, high;
};
struct __attribute__((may_alias)) I {  // 32-bit lanes unless stated otherwise
  int32x4_t low, high;
};
constexpr int kLanes = 8;
constexpr int kTileRows = 6;
constexpr int kWidenedRows = 5;            // for Float16AsFloat32: g++ 12 spills sums at 6
constexpr int kShiftedRows = 5;            // for Bfloat16AsFloat32: g++ 12 spills sums at 6
constexpr int kQueries = 3, kClasses = 1;  // tile of cosines: 24 sums + 2 of a row + 2 of a query

CLIP_VECTOR F operator+(F a, F b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
CLIP_VECTOR F operator-(F a, F b) { return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
CLIP_VECTOR F operator*(F a, F b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
CLIP_VECTOR F operator/(F a, F b) { return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }

// Loads the first n numbers at p, n from 0 to 4, padded with zeros.
CLIP_VECTOR float32x4_t loadSome(const float* p, int n) {
  if (n >= 4) return vld1q_f32(p);
  float32x4_t v = vdupq_n_f32(0);
  if (n > 0) v = vld1q_lane_f32(p, v, 0);
  if (n > 1) v = vld1q_lane_f32(p + 1, v, 1);
  if (n > 2) v = vld1q_lane_f32(p + 2, v, 2);
  return v;
}
CLIP_VECTOR void storeSome(float* p, float32x4_t v, int n) {
  if (n >= 4) return vst1q_f32(p, v);
  if (n > 0) vst1q_lane_f32(p, v, 0);
  if (n > 1) vst1q_lane_f32(p + 1, v, 1);
  if (n > 2) vst1q_lane_f32(p + 2, v, 2);
}
// A mask with all bits set in the lanes below n.
struct LaneMask {
  uint32x4_t low, high;
};
CLIP_VECTOR LaneMask lanes(int n) {
  const int32x4_t index = {0, 1, 2, 3}, count = vdupq_n_s32(n);
  return {vcltq_s32(index, count), vcltq_s32(vaddq_s32(index, vdupq_n_s32(4)), count)};
}
CLIP_VECTOR F all(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
CLIP_VECTOR F zero() { return all(0); }
CLIP_VECTOR F load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
CLIP_VECTOR void store(float* p, F v) {
  vst1q_f32(p, v.low);
  vst1q_f32(p + 4, v.high);
}
// Each of the first half of the lanes twice.
CLIP_VECTOR F doubledLanes(F v) { return {vzip1q_f32(v.low, v.low), vzip2q_f32(v.low, v.low)}; }
CLIP_VECTOR F load(const float* p, int n) {
  if (n == kLanes) return load(p);
  return {loadSome(p, n), loadSome(p + 4, n - 4)};
}
CLIP_VECTOR void store(float* p, F v, int n) {
  if (n == kLanes) return store(p, v);
  storeSome(p, v.low, n);
  storeSome(p + 4, v.high, n - 4);
}
CLIP_VECTOR F fma(F a, F b, F c) {  // a b + c
  return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
CLIP_VECTOR F fms(F a, F b, F c) {  // a b - c
  return {vfmaq_f32(vnegq_f32(c.low), a.low, b.low), vfmaq_f32(vnegq_f32(c.high), a.high, b.high)};
}
CLIP_VECTOR F fnma(F a, F b, F c) {  // c - a b
  return {vfmsq_f32(c.low, a.low, b.low), vfmsq_f32(c.high, a.high, b.high)};
}
// b if either is NaN. fmax would propagate a NaN from either side.
CLIP_VECTOR F larger(F a, F b) {
  return {vbslq_f32(vcgtq_f32(a.low, b.low), a.low, b.low),
          vbslq_f32(vcgtq_f32(a.high, b.high), a.high, b.high)};
}
CLIP_VECTOR F smaller(F a, F b) {
  return {vbslq_f32(vcltq_f32(a.low, b.low), a.low, b.low),
          vbslq_f32(vcltq_f32(a.high, b.high), a.high, b.high)};
}
CLIP_VECTOR F swapNeighbours(F a) { return {vrev64q_f32(a.low), vrev64q_f32(a.high)}; }  // lanes 1 0 3 2 ...
CLIP_VECTOR F absolute(F a) { return {vabsq_f32(a.low), vabsq_f32(a.high)}; }
CLIP_VECTOR F nearest(F a) { return {vrndnq_f32(a.low), vrndnq_f32(a.high)}; }
// Multiplies by 2^n in two steps, so that neither power leaves the exponent's range and only the last product
// rounds (n in -151 .. 129).
CLIP_VECTOR float32x4_t timesPowerOf2(float32x4_t a, float32x4_t n) {
  const int32x4_t i = vcvtnq_s32_f32(n), half = vshrq_n_s32(i, 1), bias = vdupq_n_s32(127);
  const int32x4_t first = vshlq_n_s32(vaddq_s32(half, bias), 23);
  const int32x4_t second = vshlq_n_s32(vaddq_s32(vsubq_s32(i, half), bias), 23);
  return vmulq_f32(vmulq_f32(a, vreinterpretq_f32_s32(first)), vreinterpretq_f32_s32(second));
}
CLIP_VECTOR F timesPowerOf2(F a, F n) { return {timesPowerOf2(a.low, n.low), timesPowerOf2(a.high, n.high)}; }
CLIP_VECTOR F firstLanes(F a, int n, F b) {  // a in lanes below n, else b
  const LaneMask m = lanes(n);
  return {vbslq_f32(m.low, a.low, b.low), vbslq_f32(m.high, a.high, b.high)};
}
CLIP_VECTOR F whereNegative(F x, F a, F b) {
  return {vbslq_f32(vcltzq_f32(x.low), a.low, b.low), vbslq_f32(vcltzq_f32(x.high), a.high, b.high)};
}
CLIP_VECTOR float sum(F a) { return vaddvq_f32(vaddq_f32(a.low, a.high)); }
CLIP_VECTOR float top(F a) { return vmaxnmvq_f32(vmaxnmq_f32(a.low, a.high)); }

CLIP_VECTOR I allInt(int32_t x) { return {vdupq_n_s32(x), vdupq_n_s32(x)}; }
CLIP_VECTOR I loadInt(const void* p) {
  const uint8_t* const q = static_cast<const uint8_t*>(p);
  return {vreinterpretq_s32_u8(vld1q_u8(q)), vreinterpretq_s32_u8(vld1q_u8(q + 16))};
}
CLIP_VECTOR I loadInt(const int32_t* p, int n) {
  const F v = load(reinterpret_cast<const float*>(p), n);
  return {vreinterpretq_s32_f32(v.low), vreinterpretq_s32_f32(v.high)};
}
CLIP_VECTOR I add(I a, I b) { return {vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)}; }
CLIP_VECTOR I subtract(I a, I b) { return {vsubq_s32(a.low, b.low), vsubq_s32(a.high, b.high)}; }
CLIP_VECTOR I multiply(I a, I b) { return {vmulq_s32(a.low, b.low), vmulq_s32(a.high, b.high)}; }
CLIP_VECTOR F toFloat(I a) { return {vcvtq_f32_s32(a.low), vcvtq_f32_s32(a.high)}; }
CLIP_VECTOR I rounded(F a) { return {vcvtnq_s32_f32(a.low), vcvtnq_s32_f32(a.high)}; }  // ties to even
CLIP_VECTOR int32_t rounded(float a) { return vcvtns_s32_f32(a); }

CLIP_VECTOR int16x8_t words(int32x4_t a) { return vreinterpretq_s16_s32(a); }
CLIP_VECTOR int32x4_t ofWords(int16x8_t a) { return vreinterpretq_s32_s16(a); }
// The low and the high byte of every 16 bits.
CLIP_VECTOR int32x4_t lowBytes(int32x4_t a) { return vandq_s32(a, vdupq_n_s32(0x00ff00ff)); }
CLIP_VECTOR int32x4_t highBytes(int32x4_t a) {
  return vreinterpretq_s32_u16(vshrq_n_u16(vreinterpretq_u16_s32(a), 8));
}
CLIP_VECTOR int32x4_t lowSigned(int32x4_t a) { return ofWords(vshrq_n_s16(vshlq_n_s16(words(a), 8), 8)); }
CLIP_VECTOR int32x4_t highSigned(int32x4_t a) { return ofWords(vshrq_n_s16(words(a), 8)); }
CLIP_VECTOR I lowBytes(I a) { return {lowBytes(a.low), lowBytes(a.high)}; }
CLIP_VECTOR I highBytes(I a) { return {highBytes(a.low), highBytes(a.high)}; }
CLIP_VECTOR I lowSigned(I a) { return {lowSigned(a.low), lowSigned(a.high)}; }
CLIP_VECTOR I highSigned(I a) { return {highSigned(a.low), highSigned(a.high)}; }
CLIP_VECTOR I widenBytes(const int8_t* p) {  // widens 2 * kLanes bytes to 16-bit lanes
  const int8x16_t bytes = vld1q_s8(p);
  return {ofWords(vmovl_s8(vget_low_s8(bytes))), ofWords(vmovl_high_s8(bytes))};
}
CLIP_VECTOR int32_t sumInt(I a) {  // wraps modulo 2^32
  return int32_t(vaddvq_u32(vreinterpretq_u32_s32(vaddq_s32(a.low, a.high))));
}
// Multiplies 16-bit lanes, adds neighbouring products and adds the result to sum.
CLIP_VECTOR int32x4_t addPairs(int32x4_t sum, int16x8_t a, int16x8_t b) {
  const int32x4_t products = vmull_s16(vget_low_s16(a), vget_low_s16(b));
  return vaddq_s32(sum, vpaddq_s32(products, vmull_high_s16(a, b)));
}
CLIP_VECTOR I addPairs(I sum, I a, I b) {
  return {addPairs(sum.low, words(a.low), words(b.low)), addPairs(sum.high, words(a.high), words(b.high))};
}
// The same for products of an unsigned and a signed byte, which fit into 16 bits: 255 * 127 = 32385, 255 *
// -128 = -32640. It is one asm block, so that no product stays in a register while the next is computed.
CLIP_VECTOR void addBytePairs(int32x4_t& sum, int32x4_t a, int32x4_t b) {
  int32x4_t products;
  asm("mul %1.8h, %2.8h, %3.8h\n\tsadalp %0.4s, %1.8h" : "+w"(sum), "=&w"(products) : "w"(a), "w"(b));
}
CLIP_VECTOR I addBytePairs(I sum, I a, I b) {
  addBytePairs(sum.low, a.low, b.low);
  addBytePairs(sum.high, a.high, b.high);
  return sum;
}
// The first and the second bfloat16 of every 32 bits, as float32.
CLIP_VECTOR F lowHalves(I a) {
  return {vreinterpretq_f32_s32(vshlq_n_s32(a.low, 16)), vreinterpretq_f32_s32(vshlq_n_s32(a.high, 16))};
}
CLIP_VECTOR F highHalves(I a) {
  const int32x4_t mask = vdupq_n_s32(int32_t(0xffff0000u));
  return {vreinterpretq_f32_s32(vandq_s32(a.low, mask)), vreinterpretq_f32_s32(vandq_s32(a.high, mask))};
}

// One number of a row of x, ready to be multiplied by a vector of weights: lane 0 of a register. It is never
// a variable of type float, because g++ 12 would load that into an integer register and then move it.
using Factor = int32x2_t;
CLIP_VECTOR Factor factor(int32_t bits) { return vset_lane_s32(bits, vdup_n_s32(0), 0); }
CLIP_VECTOR Factor factor(float x) { return factor(__builtin_bit_cast(int32_t, x)); }
CLIP_VECTOR Factor lowFactor(int32_t x) { return vshl_n_s32(factor(x), 16); }  // the first of two bfloat16
CLIP_VECTOR Factor highFactor(int32_t x) { return vand_s32(factor(x), vdup_n_s32(int32_t(0xffff0000u))); }
// The same for 4 bytes of a row, without conversion.
using PackedFactor = int32_t;
CLIP_VECTOR PackedFactor packedFactor(int32_t x) { return x; }
CLIP_VECTOR void addProducts(float32x4_t& sum, Factor x, float32x4_t w) {
  asm("fmla %0.4s, %1.4s, %2.s[0]" : "+w"(sum) : "w"(w), "w"(x));
}
CLIP_VECTOR F fma(Factor x, F w, F sum) {
  addProducts(sum.low, x, w.low);
  addProducts(sum.high, x, w.high);
  return sum;
}
// Forces the compiler to have both in registers at this point.
template <class V>
CLIP_VECTOR void holdInRegisters(V& a, V& b) {
  asm volatile("" : "+w"(a.low), "+w"(a.high), "+w"(b.low), "+w"(b.high));
}
// Keeps the loads of the next weights from moving up: g++ 12 would hold the weights of two steps and run out
// of registers for the sums.
CLIP_VECTOR void endTurn() { asm volatile("" : : : "memory"); }

CLIP_VECTOR F loadFloat16(const uint16_t* p) {
  const uint16x8_t half = vld1q_u16(p);
  return {vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(half))),
          vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(half)))};
}
// Returns false if float16 cannot represent a lane exactly.
CLIP_VECTOR bool storeFloat16(uint16_t* p, F v) {
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v.low)));
  vst1_u16(p + 4, vreinterpret_u16_f16(vcvt_f16_f32(v.high)));
  const F back = loadFloat16(p);
  const uint32x4_t low = vceqq_u32(vreinterpretq_u32_f32(back.low), vreinterpretq_u32_f32(v.low));
  const uint32x4_t high = vceqq_u32(vreinterpretq_u32_f32(back.high), vreinterpretq_u32_f32(v.high));
  return vminvq_u32(vandq_u32(low, high)) == 0xffffffffu;
}
CLIP_VECTOR F loadBfloat16(const uint16_t* p, int n) {
  uint16x8_t half;
  if (n == kLanes) {
    half = vld1q_u16(p);
  } else {
    uint16_t rest[8] = {};
    __builtin_memcpy(rest, p, size_t(n) * 2);
    half = vld1q_u16(rest);
  }
  return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(half), 16)),
          vreinterpretq_f32_u32(vshll_high_n_u16(half, 16))};
}
// Rounds like toBfloat16 of half.h. It does not use bfcvtn, which keeps subnormals.
CLIP_VECTOR uint16x4_t toBfloat16s(float32x4_t v) {
  const uint32x4_t bits = vreinterpretq_u32_f32(v), magnitude = vandq_u32(bits, vdupq_n_u32(0x7fffffff));
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  uint32x4_t r = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
  r = vbslq_u32(vcgtq_u32(magnitude, vdupq_n_u32(0x7f800000)), vorrq_u32(bits, vdupq_n_u32(0x400000)), r);
  r = vbslq_u32(vcltq_u32(magnitude, vdupq_n_u32(0x00800000)), veorq_u32(bits, magnitude), r);
  return vshrn_n_u32(r, 16);
}
CLIP_VECTOR void storeBfloat16(uint16_t* p, F v, int n) {
  const uint16x8_t half = vcombine_u16(toBfloat16s(v.low), toBfloat16s(v.high));
  if (n == kLanes)
    vst1q_u16(p, half);
  else
    __builtin_memcpy(p, &half, size_t(n) * 2);
}
// Loads n bfloat16 as they are in memory, two to a lane, padded with zeros; n in 1 .. 2 * kLanes.
CLIP_VECTOR F loadHalves(const uint16_t* p, int n) {
  uint16_t rest[2 * kLanes] = {};
  if (n < 2 * kLanes) {
    __builtin_memcpy(rest, p, size_t(n) * 2);
    p = rest;
  }
  return {vreinterpretq_f32_u16(vld1q_u16(p)), vreinterpretq_f32_u16(vld1q_u16(p + 8))};
}
// Interleaves two registers of widened bfloat16 into pairs: low[i] before high[i].
CLIP_VECTOR float32x4_t joinHalves(float32x4_t low, float32x4_t high) {
  return vreinterpretq_f32_u32(vsriq_n_u32(vreinterpretq_u32_f32(high), vreinterpretq_u32_f32(low), 16));
}
CLIP_VECTOR F joinHalves(F low, F high) {
  return {joinHalves(low.low, high.low), joinHalves(low.high, high.high)};
}
// Stores numbers that are already within -128 .. 127.
CLIP_VECTOR void storeSigned(int8_t* p, I v, int n) {
  const int8x8_t bytes = vqmovn_s16(vcombine_s16(vqmovn_s32(v.low), vqmovn_s32(v.high)));
  if (n == kLanes)
    vst1_s8(p, bytes);
  else
    __builtin_memcpy(p, &bytes, size_t(n));
}
// Clamps to 0 .. 255 and stores.
CLIP_VECTOR void storeBytes(uint8_t* p, I v, int n) {
  const uint8x8_t bytes = vqmovun_s16(vcombine_s16(vqmovn_s32(v.low), vqmovn_s32(v.high)));
  if (n == kLanes)
    vst1_u8(p, bytes);
  else
    __builtin_memcpy(p, &bytes, size_t(n));
}

// Transposes 4 x 4 numbers.
CLIP_VECTOR void transpose(float32x4_t& a, float32x4_t& b, float32x4_t& c, float32x4_t& d) {
  const float64x2_t ab = vreinterpretq_f64_f32(vtrn1q_f32(a, b)),
                    ba = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
  const float64x2_t cd = vreinterpretq_f64_f32(vtrn1q_f32(c, d)),
                    dc = vreinterpretq_f64_f32(vtrn2q_f32(c, d));
  a = vreinterpretq_f32_f64(vzip1q_f64(ab, cd));
  b = vreinterpretq_f32_f64(vzip1q_f64(ba, dc));
  c = vreinterpretq_f32_f64(vzip2q_f64(ab, cd));
  d = vreinterpretq_f32_f64(vzip2q_f64(ba, dc));
}
CLIP_VECTOR void transpose(F* f) {
  transpose(f[0].low, f[1].low, f[2].low, f[3].low);
  transpose(f[4].high, f[5].high, f[6].high, f[7].high);
  transpose(f[0].high, f[1].high, f[2].high, f[3].high);
  transpose(f[4].low, f[5].low, f[6].low, f[7].low);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const float32x4_t upper = f[i].high;
    f[i].high = f[4 + i].low;
    f[4 + i].low = upper;
  }
}
