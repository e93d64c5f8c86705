// The two passes of Pillow's 8-bit resize (native/resample.h) with 256-bit integer vectors, which both x86
// tables have. Integer sums are associative, so any order is exact. A coefficient k has up to 23 bits and a
// sign. It is split into k = high * 4096 + low, with low in 0 .. 4095, so that both halves fit into 16 bits
// and a pair of pixels times a pair of coefficients takes two vpmaddwd. Intermediate sums may wrap around;
// the total fits into 32 bits because Pillow uses 22 fractional bits.

inline int32_t highPair(const int32_t* k) {
  return ((k[0] >> 12) & 0xffff) | int32_t(uint32_t(k[1] >> 12) << 16);
}
inline int32_t lowPair(const int32_t* k) { return (k[0] & 4095) | (k[1] & 4095) << 16; }

// 1/2 + high * 4096 + low as pixels in 32-bit lanes, not yet clipped at 255.
CLIP_VECTOR __m256i pixelsOf(__m256i high, __m256i low) {
  const __m256i half = _mm256_set1_epi32(1 << (kResampleBits - 1));
  return _mm256_srai_epi32(_mm256_add_epi32(_mm256_add_epi32(_mm256_slli_epi32(high, 12), low), half),
                           kResampleBits);
}

// Adds the two halves of a into the low half of the result, and those of b into the high half.
CLIP_VECTOR __m256i foldHalves(__m256i a, __m256i b) {
  return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

// Processes four source pixels per step: (a0 a1)(b0 b1)(c0 c1)(d0 d1) of pixels 0 and 1 are in the low half
// of the register, those of pixels 2 and 3 in the high half, where a .. d are the channels. It processes
// eight rows for each x before moving on, so that they stay in cache (one column of all rows at a time was 40
// % slower at 12 megapixels).
void resizeHorizontal(const ResizePass& p) {
  const int out = p.x1 - p.x0, n = p.channels, groups = p.stride / 4;
  alignas(32) int8_t spread[32];
  for (int i = 0; i < 32; i++) {
    const int channel = i % 16 / 4, pixel = i / 16 * 2 + i % 4 / 2;
    spread[i] = i % 2 || channel >= n ? -1 : int8_t(pixel * n + channel);
  }
  const __m256i index = _mm256_load_si256(reinterpret_cast<const __m256i*>(spread));
  const Bytes memory(size_t(out) * groups * 2 * sizeof(__m256i));
  __m256i* k = static_cast<__m256i*>(memory.data);  // high and low alternately
  for (int x = 0; x < out; x++)
    for (int g = 0; g < groups; g++, k += 2) {
      const int32_t* c = p.k + size_t(x) * p.stride + g * 4;
      k[0] = _mm256_setr_m128i(_mm_set1_epi32(highPair(c)), _mm_set1_epi32(highPair(c + 2)));
      k[1] = _mm256_setr_m128i(_mm_set1_epi32(lowPair(c)), _mm_set1_epi32(lowPair(c + 2)));
    }
  const size_t row = size_t(p.width) * n;
  // Writes four bytes at once. Those beyond this pixel are overwritten by the next pixels; the last pixels,
  // which none follow, are written exactly.
  const auto store = [n, out](uint8_t* to, int x, int pixel) {
    if (x + 4 <= out)
      __builtin_memcpy(to, &pixel, 4);
    else
      for (int c = 0; c < n; c++, pixel >>= 8) to[c] = uint8_t(pixel);
  };
  for (int block = p.y0; block < p.y1; block += 8) {
    const int end = least(p.y1, block + 8);
    for (int x = 0; x < out; x++) {
      k = static_cast<__m256i*>(memory.data) + size_t(x) * groups * 2;
      const int used = (p.at[x].count + 3) / 4;
      const uint8_t* src = p.src + (size_t(block - p.top) * p.width + p.at[x].first - p.left) * n;
      uint8_t* dst = p.dst + (size_t(block - p.y0) * out + x) * n;
      int y = block;
      // Two rows share the coefficients and the conversion from sums to pixels. Only for the last rows of an
      // image could a step read past its end.
      for (; y + 1 < end && p.srcEnd - (src + row) >= (used - 1) * 4 * n + 16; y += 2) {
        __m256i high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, low[2] = {high[0], high[0]};
        for (int g = 0; g < used; g++)
          for (int r = 0; r < 2; r++) {
            const auto* at = reinterpret_cast<const __m128i*>(src + r * row + size_t(g) * 4 * n);
            const __m256i v = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(at)), index);
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(v, k[2 * g]));
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(v, k[2 * g + 1]));
          }
        const __m256i pixels = pixelsOf(foldHalves(high[0], high[1]), foldHalves(low[0], low[1]));
        const __m256i packed = _mm256_packus_epi16(_mm256_packs_epi32(pixels, pixels), pixels);
        store(dst, x, _mm256_cvtsi256_si32(packed));
        store(dst + size_t(out) * n, x, _mm256_extract_epi32(packed, 4));
        src += 2 * row, dst += 2 * size_t(out) * n;
      }
      for (; y < end; y++, src += row, dst += size_t(out) * n) {
        __m256i high = _mm256_setzero_si256(), low = high;
        for (int g = 0; g < used; g++) {
          const uint8_t* at = src + size_t(g) * 4 * n;
          alignas(16) uint8_t bytes[16] = {};
          __builtin_memcpy(bytes, at, p.srcEnd - at < 16 ? size_t(p.srcEnd - at) : 16);
          const __m256i v = _mm256_shuffle_epi8(
              _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes))), index);
          high = _mm256_add_epi32(high, _mm256_madd_epi16(v, k[2 * g]));
          low = _mm256_add_epi32(low, _mm256_madd_epi16(v, k[2 * g + 1]));
        }
        const __m256i pixel = pixelsOf(foldHalves(high, high), foldHalves(low, low));
        store(dst, x, _mm256_cvtsi256_si32(_mm256_packus_epi16(_mm256_packs_epi32(pixel, pixel), pixel)));
      }
    }
  }
}

// Interleaves two rows and processes sixteen bytes of them at a time.
void resizeVertical(const ResizePass& p) {
  const int n = p.channels, row = (p.x1 - p.x0) * n;
  const size_t stride = size_t(p.width) * n;
  const Bytes memory(size_t(p.stride / 2) * 2 * sizeof(int32_t));
  int32_t* const pairs = static_cast<int32_t*>(memory.data);  // high and low alternately
  for (int y = p.y0; y < p.y1; y++) {
    const Coefficients::Taps t = p.at[y - p.y0];
    const int32_t* k = p.k + size_t(y - p.y0) * p.stride;
    const uint8_t* first = p.src + size_t(t.first - p.top) * stride + size_t(p.x0 - p.left) * n;
    uint8_t* dst = p.dst + size_t(y - p.y0) * row;
    for (int i = 0; i < t.count; i += 2) {  // coefficients beyond count are 0
      pairs[i] = highPair(k + i);
      pairs[i + 1] = lowPair(k + i);
    }
    int x = 0;
    for (; x + 16 <= row; x += 16) {
      __m256i high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, low[2] = {high[0], high[0]};
      for (int i = 0; i < t.count; i += 2) {
        const uint8_t* a = first + size_t(i) * stride + x;
        const __m128i even = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a));
        const __m128i odd = i + 1 < t.count ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + stride))
                                            : _mm_setzero_si128();
        const __m256i kh = _mm256_set1_epi32(pairs[i]), kl = _mm256_set1_epi32(pairs[i + 1]);
        const __m256i v0 = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(even, odd));
        const __m256i v1 = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(even, odd));
        high[0] = _mm256_add_epi32(high[0], _mm256_madd_epi16(v0, kh));
        low[0] = _mm256_add_epi32(low[0], _mm256_madd_epi16(v0, kl));
        high[1] = _mm256_add_epi32(high[1], _mm256_madd_epi16(v1, kh));
        low[1] = _mm256_add_epi32(low[1], _mm256_madd_epi16(v1, kl));
      }
      // packs works on each half: 0-3 8-11 4-7 12-15. The permutation restores the order before the last
      // packing.
      const __m256i words = _mm256_permute4x64_epi64(
          _mm256_packs_epi32(pixelsOf(high[0], low[0]), pixelsOf(high[1], low[1])), 0xd8);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + x),
                       _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
    }
    for (; x < row; x++) {
      uint32_t sum = 1u << (kResampleBits - 1);
      for (int i = 0; i < t.count; i++) sum += uint32_t(first[size_t(i) * stride + x] * k[i]);
      dst[x] = clip8(int32_t(sum));
    }
  }
}

void resize(Context&, const Resize& r) { resizeWith(r, resizeHorizontal, resizeVertical); }
