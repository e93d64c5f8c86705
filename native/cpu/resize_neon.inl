// The two passes of Pillow's 8-bit resize (native/resample.h) on neon. Integer sums are associative, so any
// order is exact. Intermediate sums may wrap around; the total fits into 32 bits because Pillow uses 22
// fractional bits. Pixels are widened to 32 bits and multiplied by whole coefficients: splitting the
// coefficients, as on x86, would take two multiplications of half the width instead of one.

// Sums that were initialized with 1/2, converted to pixels in the order a, b, c, d.
CLIP_VECTOR uint8x16_t pixelsOf(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
  const int16x8_t low =
      vcombine_s16(vqmovn_s32(vshrq_n_s32(a, kResampleBits)), vqmovn_s32(vshrq_n_s32(b, kResampleBits)));
  const int16x8_t high =
      vcombine_s16(vqmovn_s32(vshrq_n_s32(c, kResampleBits)), vqmovn_s32(vshrq_n_s32(d, kResampleBits)));
  return vcombine_u8(vqmovun_s16(low), vqmovun_s16(high));
}

// Processes four source pixels per step, each spread over the lanes of a register of its own, one lane per
// channel. It processes eight rows for each x before moving on, so that they stay in cache.
void resizeHorizontal(const ResizePass& p) {
  const int out = p.x1 - p.x0, n = p.channels;
  uint8_t spread[4][16];
  for (int pixel = 0; pixel < 4; pixel++)
    for (int i = 0; i < 16; i++)
      spread[pixel][i] = i % 4 || i / 4 >= n ? 255 : uint8_t(pixel * n + i / 4);  // 255 selects a zero
  const uint8x16_t index[4] = {vld1q_u8(spread[0]), vld1q_u8(spread[1]), vld1q_u8(spread[2]),
                               vld1q_u8(spread[3])};
  for (int block = p.y0; block < p.y1; block += 8)
    for (int x = 0; x < out; x++) {
      const int used = (p.at[x].count + 3) / 4;
      const int32_t* const k = p.k + size_t(x) * p.stride;
      for (int y = block; y < least(p.y1, block + 8); y++) {
        const uint8_t* src = p.src + (size_t(y - p.top) * p.width + p.at[x].first - p.left) * n;
        int32x4_t even = vdupq_n_s32(1 << (kResampleBits - 1)), odd = vdupq_n_s32(0);
        for (int g = 0; g < used; g++, src += 4 * n) {
          uint8x16_t bytes;
          if (p.srcEnd - src >= 16) {
            bytes = vld1q_u8(src);
          } else {  // the last pixels of the image
            uint8_t rest[16] = {};
            __builtin_memcpy(rest, src, size_t(p.srcEnd - src));
            bytes = vld1q_u8(rest);
          }
          const auto pixel = [&](int i)
                                 CLIP_INLINE { return vreinterpretq_s32_u8(vqtbl1q_u8(bytes, index[i])); };
          const int32x4_t weights = vld1q_s32(k + 4 * g);
          even = vmlaq_laneq_s32(even, pixel(0), weights, 0);
          odd = vmlaq_laneq_s32(odd, pixel(1), weights, 1);
          even = vmlaq_laneq_s32(even, pixel(2), weights, 2);
          odd = vmlaq_laneq_s32(odd, pixel(3), weights, 3);
        }
        const int32x4_t sum = vaddq_s32(even, odd);
        const uint8x16_t pixel = pixelsOf(sum, sum, sum, sum);
        __builtin_memcpy(p.dst + (size_t(y - p.y0) * out + x) * n, &pixel, size_t(n));
      }
    }
}

// Processes sixteen bytes of a row at a time.
void resizeVertical(const ResizePass& p) {
  const int n = p.channels, row = (p.x1 - p.x0) * n;
  const size_t stride = size_t(p.width) * n;
  for (int y = p.y0; y < p.y1; y++) {
    const Coefficients::Taps t = p.at[y - p.y0];
    const int32_t* k = p.k + size_t(y - p.y0) * p.stride;
    const uint8_t* first = p.src + size_t(t.first - p.top) * stride + size_t(p.x0 - p.left) * n;
    uint8_t* dst = p.dst + size_t(y - p.y0) * row;
    int x = 0;
    for (; x + 16 <= row; x += 16) {
      int32x4_t a, b, c, d;
      a = b = c = d = vdupq_n_s32(1 << (kResampleBits - 1));
      for (int i = 0; i < t.count; i++) {
        const uint8x16_t bytes = vld1q_u8(first + size_t(i) * stride + x);
        const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_high_u8(bytes);
        a = vmlaq_n_s32(a, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))), k[i]);
        b = vmlaq_n_s32(b, vreinterpretq_s32_u32(vmovl_high_u16(low)), k[i]);
        c = vmlaq_n_s32(c, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))), k[i]);
        d = vmlaq_n_s32(d, vreinterpretq_s32_u32(vmovl_high_u16(high)), k[i]);
      }
      vst1q_u8(dst + x, pixelsOf(a, b, c, d));
    }
    for (; x < row; x++) {
      uint32_t sum = 1u << (kResampleBits - 1);
      for (int i = 0; i < t.count; i++) sum += uint32_t(first[size_t(i) * stride + x] * k[i]);
      dst[x] = clip8(int32_t(sum));
    }
  }
}

void resize(Context&, const Resize& r) { resizeWith(r, resizeHorizontal, resizeVertical); }
