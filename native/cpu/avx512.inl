// The vector types and primitives and the tile sizes of avx512.

#define CLIP_VECTOR inline __attribute__((always_inline))

using F = __m512;
using I = __m512i;  // 32-bit lanes unless stated otherwise
constexpr int kLanes = 16;
constexpr int kTileRows = 14;              // 14 x 2 sums + 2 weights + 1 broadcast = 31 of 32 registers
constexpr int kWidenedRows = 14;           // for Float16AsFloat32
constexpr int kShiftedRows = 10;           // for Bfloat16AsFloat32: g++ 12 spills sums at 11 and 12
constexpr int kQueries = 3, kClasses = 2;  // tile of cosines: 24 sums + 2 rows + 3 queries

CLIP_VECTOR __mmask16 lanes(int n) { return __mmask16(0xffffu >> (16 - n)); }  // n in 1 .. 16
CLIP_VECTOR F zero() { return _mm512_setzero_ps(); }
CLIP_VECTOR F all(float x) { return _mm512_set1_ps(x); }
CLIP_VECTOR F load(const float* p) { return _mm512_loadu_ps(p); }
CLIP_VECTOR void store(float* p, F v) { _mm512_storeu_ps(p, v); }
// Each of the first half of the lanes twice.
CLIP_VECTOR F doubledLanes(F v) {
  return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}
CLIP_VECTOR F load(const float* p, int n) {
  return n == kLanes ? load(p) : _mm512_maskz_loadu_ps(lanes(n), p);
}
CLIP_VECTOR void store(float* p, F v, int n) {
  if (n == kLanes)
    store(p, v);
  else
    _mm512_mask_storeu_ps(p, lanes(n), v);
}
CLIP_VECTOR F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }    // a b + c
CLIP_VECTOR F fms(F a, F b, F c) { return _mm512_fmsub_ps(a, b, c); }    // a b - c
CLIP_VECTOR F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
CLIP_VECTOR F larger(F a, F b) { return _mm512_max_ps(a, b); }           // b if either is NaN
CLIP_VECTOR F smaller(F a, F b) { return _mm512_min_ps(a, b); }
CLIP_VECTOR F absolute(F a) { return _mm512_abs_ps(a); }
CLIP_VECTOR F nearest(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
CLIP_VECTOR F timesPowerOf2(F a, F n) { return _mm512_scalef_ps(a, n); }
CLIP_VECTOR F swapNeighbours(F a) { return _mm512_permute_ps(a, 0xb1); }  // lanes 1 0 3 2 ...
CLIP_VECTOR F firstLanes(F a, int n, F b) {
  return _mm512_mask_mov_ps(b, lanes(n), a);
}  // a in lanes below n, else b
CLIP_VECTOR F whereNegative(F x, F a, F b) {
  return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), a);
}
CLIP_VECTOR float sum(F a) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
CLIP_VECTOR float top(F a) { return _mm512_reduce_max_ps(a); }

CLIP_VECTOR I allInt(int32_t x) { return _mm512_set1_epi32(x); }
CLIP_VECTOR I loadInt(const void* p) { return _mm512_loadu_si512(p); }
CLIP_VECTOR I loadInt(const int32_t* p, int n) { return _mm512_maskz_loadu_epi32(lanes(n), p); }
CLIP_VECTOR I add(I a, I b) { return _mm512_add_epi32(a, b); }
CLIP_VECTOR I subtract(I a, I b) { return _mm512_sub_epi32(a, b); }
CLIP_VECTOR I multiply(I a, I b) { return _mm512_mullo_epi32(a, b); }
CLIP_VECTOR F toFloat(I a) { return _mm512_cvtepi32_ps(a); }
CLIP_VECTOR I rounded(F a) { return _mm512_cvtps_epi32(a); }  // rounds to nearest, ties to even
CLIP_VECTOR int32_t rounded(float a) { return _mm_cvtss_si32(_mm_set_ss(a)); }
// the low byte of every 16 bits
CLIP_VECTOR I lowBytes(I a) { return _mm512_srli_epi16(_mm512_slli_epi16(a, 8), 8); }
CLIP_VECTOR I highBytes(I a) { return _mm512_srli_epi16(a, 8); }
CLIP_VECTOR I lowSigned(I a) { return _mm512_srai_epi16(_mm512_slli_epi16(a, 8), 8); }
CLIP_VECTOR I highSigned(I a) { return _mm512_srai_epi16(a, 8); }
CLIP_VECTOR I widenBytes(const int8_t* p) {  // widens 2 * kLanes bytes to 16-bit lanes
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
CLIP_VECTOR int32_t sumInt(I a) { return _mm512_reduce_add_epi32(a); }  // wraps modulo 2^32
// Multiplies 16-bit lanes, adds neighbouring products and adds the result to sum. It is one asm block,
// because otherwise g++ computes all products of a tile before the first sum.
CLIP_VECTOR I addPairs(I sum, I a, I b) {
  I products;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+v"(sum), "=&v"(products) : "v"(a), "v"(b));
  return sum;
}
// a and b are bytes in 16-bit lanes
CLIP_VECTOR I addBytePairs(I sum, I a, I b) { return addPairs(sum, a, b); }
// The first and the second bfloat16 of every 32 bits, as float32.
CLIP_VECTOR F lowHalves(I a) { return _mm512_castsi512_ps(_mm512_slli_epi32(a, 16)); }
CLIP_VECTOR F highHalves(I a) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_srli_epi32(a, 16), 16)); }

// One number of a row of x, ready to be multiplied by a vector of weights. Here it is broadcast to a whole
// vector.
using Factor = F;
CLIP_VECTOR Factor factor(float x) { return all(x); }
CLIP_VECTOR Factor lowFactor(int32_t x) { return lowHalves(allInt(x)); }  // the first of two bfloat16
CLIP_VECTOR Factor highFactor(int32_t x) { return highHalves(allInt(x)); }
// The same for 4 bytes of a row, without conversion.
using PackedFactor = I;
CLIP_VECTOR PackedFactor packedFactor(int32_t x) { return allInt(x); }
// Forces the compiler to have both in registers at this point. No memory access may be moved across it.
template <class V>
CLIP_VECTOR void holdInRegisters(V& a, V& b) {
  asm volatile("" : "+v"(a), "+v"(b) : : "memory");
}
CLIP_VECTOR void endTurn() {}  // loads may be moved into the next step

CLIP_VECTOR F loadFloat16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// Returns false if float16 cannot represent a lane exactly.
CLIP_VECTOR bool storeFloat16(uint16_t* p, F v) {
  const __m256i half = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
  return _mm512_cmpeq_epi32_mask(_mm512_castps_si512(_mm512_cvtph_ps(half)), _mm512_castps_si512(v)) ==
         0xffff;
}
CLIP_VECTOR F loadBfloat16(const uint16_t* p, int n) {
  const __m256i half = n == kLanes ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))
                                   : _mm256_maskz_loadu_epi16(lanes(n), p);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
// Rounds like toBfloat16 of half.h.
CLIP_VECTOR void storeBfloat16(uint16_t* p, F v, int n) {
#ifdef CLIP_CONVERTS_BFLOAT16
  const __m256i half = (__m256i)_mm512_cvtneps_pbh(v);
#else
  const __m512i bits = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), allInt(1));
  __m512i r = _mm512_add_epi32(_mm512_add_epi32(bits, allInt(0x7fff)), odd);
  r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), bits, allInt(0x400000));
  const __m512i exponent = allInt(0x7f800000);
  r = _mm512_mask_and_epi32(r, _mm512_testn_epi32_mask(bits, exponent), bits, allInt(int32_t(0x80000000u)));
  const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16));
#endif
  if (n == kLanes)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
  else
    _mm256_mask_storeu_epi16(p, lanes(n), half);
}
// Loads n bfloat16 as they are in memory, two to a lane, padded with zeros; n in 1 .. 2 * kLanes.
CLIP_VECTOR F loadHalves(const uint16_t* p, int n) {
  return _mm512_castsi512_ps(n == 2 * kLanes ? _mm512_loadu_si512(p)
                                             : _mm512_maskz_loadu_epi16(0xffffffffu >> (32 - n), p));
}
// Interleaves two registers of widened bfloat16 into pairs: low[i] before high[i].
CLIP_VECTOR F joinHalves(F low, F high) {
  return _mm512_castsi512_ps(
      _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(low), 16), _mm512_castps_si512(high)));
}
// Stores numbers that are already within -128 .. 127.
CLIP_VECTOR void storeSigned(int8_t* p, I v, int n) {
  const __m128i bytes = _mm512_cvtepi32_epi8(v);
  if (n == kLanes)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
  else
    _mm_mask_storeu_epi8(p, lanes(n), bytes);
}
// Clamps to 0 .. 255 and stores.
CLIP_VECTOR void storeBytes(uint8_t* p, I v, int n) {
  const __m128i bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(v, _mm512_setzero_si512()));
  if (n == kLanes)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
  else
    _mm_mask_storeu_epi8(p, lanes(n), bytes);
}

CLIP_VECTOR void transpose(F* f) {
  __m512i r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) r[i] = _mm512_castps_si512(f[i]);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    f[i] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(t[i], t[8 + i], 0x88));
    f[4 + i] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88));
    f[8 + i] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd));
    f[12 + i] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd));
  }
}
