// The vector types and primitives and the tile sizes of avx2.

#define CLIP_VECTOR inline __attribute__((always_inline))

using F = __m256;
using I = __m256i;  // 32-bit lanes unless stated otherwise
constexpr int kLanes = 8;
constexpr int kTileRows = 6;               // 6 x 2 sums + 2 weights + 1 broadcast = 15 of 16 registers
constexpr int kWidenedRows = 6;            // for Float16AsFloat32
constexpr int kShiftedRows = 5;            // for Bfloat16AsFloat32: one register holds the shifted numbers
constexpr int kQueries = 3, kClasses = 1;  // tile of cosines: 12 sums + a row + a query

// A mask with all bits set in the lanes below n.
CLIP_VECTOR __m256i lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
CLIP_VECTOR F zero() { return _mm256_setzero_ps(); }
CLIP_VECTOR F all(float x) { return _mm256_set1_ps(x); }
CLIP_VECTOR F load(const float* p) { return _mm256_loadu_ps(p); }
CLIP_VECTOR void store(float* p, F v) { _mm256_storeu_ps(p, v); }
// Each of the first half of the lanes twice.
CLIP_VECTOR F doubledLanes(F v) { return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3); }
CLIP_VECTOR F load(const float* p, int n) { return n == kLanes ? load(p) : _mm256_maskload_ps(p, lanes(n)); }
CLIP_VECTOR void store(float* p, F v, int n) {
  if (n == kLanes)
    store(p, v);
  else
    _mm256_maskstore_ps(p, lanes(n), v);
}
CLIP_VECTOR F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }    // a b + c
CLIP_VECTOR F fms(F a, F b, F c) { return _mm256_fmsub_ps(a, b, c); }    // a b - c
CLIP_VECTOR F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a b
CLIP_VECTOR F larger(F a, F b) { return _mm256_max_ps(a, b); }           // b if either is NaN
CLIP_VECTOR F smaller(F a, F b) { return _mm256_min_ps(a, b); }
CLIP_VECTOR F absolute(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
CLIP_VECTOR F nearest(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// Multiplies by 2^n in two steps, so that neither power leaves the exponent's range and only the last product
// rounds (n in -151 .. 129).
CLIP_VECTOR F timesPowerOf2(F a, F n) {
  const __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), bias = _mm256_set1_epi32(127);
  const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}
CLIP_VECTOR F swapNeighbours(F a) { return _mm256_permute_ps(a, 0xb1); }  // lanes 1 0 3 2 ...
CLIP_VECTOR F firstLanes(F a, int n, F b) { return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(lanes(n))); }
CLIP_VECTOR F whereNegative(F x, F a, F b) {
  return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
CLIP_VECTOR float sum(F a) {
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
CLIP_VECTOR float top(F a) {
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}

CLIP_VECTOR I allInt(int32_t x) { return _mm256_set1_epi32(x); }
CLIP_VECTOR I loadInt(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
CLIP_VECTOR I loadInt(const int32_t* p, int n) { return _mm256_maskload_epi32(p, lanes(n)); }
CLIP_VECTOR I add(I a, I b) { return _mm256_add_epi32(a, b); }
CLIP_VECTOR I subtract(I a, I b) { return _mm256_sub_epi32(a, b); }
CLIP_VECTOR I multiply(I a, I b) { return _mm256_mullo_epi32(a, b); }
CLIP_VECTOR F toFloat(I a) { return _mm256_cvtepi32_ps(a); }
CLIP_VECTOR I rounded(F a) { return _mm256_cvtps_epi32(a); }  // rounds to nearest, ties to even
CLIP_VECTOR int32_t rounded(float a) { return _mm_cvtss_si32(_mm_set_ss(a)); }
// the low byte of every 16 bits
CLIP_VECTOR I lowBytes(I a) { return _mm256_srli_epi16(_mm256_slli_epi16(a, 8), 8); }
CLIP_VECTOR I highBytes(I a) { return _mm256_srli_epi16(a, 8); }
CLIP_VECTOR I lowSigned(I a) { return _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8); }
CLIP_VECTOR I highSigned(I a) { return _mm256_srai_epi16(a, 8); }
CLIP_VECTOR I widenBytes(const int8_t* p) {  // widens 2 * kLanes bytes to 16-bit lanes
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
CLIP_VECTOR int32_t sumInt(I a) {  // wraps modulo 2^32
  const __m128i q = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  const __m128i d = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(d, _mm_shuffle_epi32(d, 0xb1)));
}
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
CLIP_VECTOR F lowHalves(I a) { return _mm256_castsi256_ps(_mm256_slli_epi32(a, 16)); }
CLIP_VECTOR F highHalves(I a) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srli_epi32(a, 16), 16)); }

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
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
// Returns false if float16 cannot represent a lane exactly.
CLIP_VECTOR bool storeFloat16(uint16_t* p, F v) {
  const __m128i half = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), half);
  const __m256i same = _mm256_cmpeq_epi32(_mm256_castps_si256(_mm256_cvtph_ps(half)), _mm256_castps_si256(v));
  return _mm256_movemask_epi8(same) == -1;
}
CLIP_VECTOR F loadBfloat16(const uint16_t* p, int n) {
  __m128i half;
  if (n == kLanes) {
    half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  } else {
    alignas(16) uint16_t rest[8] = {};
    __builtin_memcpy(rest, p, size_t(n) * 2);
    half = _mm_load_si128(reinterpret_cast<const __m128i*>(rest));
  }
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
// Rounds like toBfloat16 of half.h.
CLIP_VECTOR void storeBfloat16(uint16_t* p, F v, int n) {
  const __m256i bits = _mm256_castps_si256(v), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), allInt(1));
  __m256i r = _mm256_add_epi32(_mm256_add_epi32(bits, allInt(0x7fff)), odd);
  r = _mm256_blendv_epi8(r, _mm256_or_si256(bits, allInt(0x400000)),
                         _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
  const __m256i exponent = allInt(0x7f800000);
  const __m256i small = _mm256_cmpeq_epi32(_mm256_and_si256(bits, exponent), _mm256_setzero_si256());
  r = _mm256_blendv_epi8(r, _mm256_and_si256(bits, allInt(int32_t(0x80000000u))), small);
  r = _mm256_srli_epi32(r, 16);
  const __m128i half = _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
  if (n == kLanes)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), half);
  else
    __builtin_memcpy(p, &half, size_t(n) * 2);
}
// Loads n bfloat16 as they are in memory, two to a lane, padded with zeros; n in 1 .. 2 * kLanes.
CLIP_VECTOR F loadHalves(const uint16_t* p, int n) {
  if (n == 2 * kLanes) return _mm256_castsi256_ps(loadInt(p));
  alignas(32) uint16_t rest[16] = {};
  __builtin_memcpy(rest, p, size_t(n) * 2);
  return _mm256_castsi256_ps(loadInt(rest));
}
// Interleaves two registers of widened bfloat16 into pairs: low[i] before high[i].
CLIP_VECTOR F joinHalves(F low, F high) {
  return _mm256_castsi256_ps(
      _mm256_or_si256(_mm256_srli_epi32(_mm256_castps_si256(low), 16), _mm256_castps_si256(high)));
}
// Stores numbers that are already within -128 .. 127.
CLIP_VECTOR void storeSigned(int8_t* p, I v, int n) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i bytes = _mm_packs_epi16(words, words);
  __builtin_memcpy(p, &bytes, size_t(n));
}
// Clamps to 0 .. 255 and stores.
CLIP_VECTOR void storeBytes(uint8_t* p, I v, int n) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i bytes = _mm_packus_epi16(words, words);
  __builtin_memcpy(p, &bytes, size_t(n));
}

CLIP_VECTOR void transpose(F* f) {
  F t[8], s[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[2 * i] = _mm256_unpacklo_ps(f[2 * i], f[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(f[2 * i], f[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) {
    s[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    s[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    s[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    s[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    f[i] = _mm256_permute2f128_ps(s[i], s[4 + i], 0x20);
    f[4 + i] = _mm256_permute2f128_ps(s[i], s[4 + i], 0x31);
  }
}
