#pragma once
// Stored numbers to float32, and float32 to bfloat16 and float16.
#include <cstring>

#include "backend.h"

namespace clip {

// Element c of a row of float32, float16 or bfloat16 as float32. Exact.
inline float widen(const void* row, Dtype dtype, size_t c) {
  if (dtype == Dtype::float32) return static_cast<const float*>(row)[c];
  const uint32_t half = static_cast<const uint16_t*>(row)[c];
  uint32_t bits = half << 16;
  if (dtype == Dtype::float16) {
    const uint32_t sign = bits & 0x80000000u, exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24
      const float magnitude = float(mantissa) * 0x1p-24f;
      return sign ? -magnitude : magnitude;
    }
    bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | mantissa << 13;
  }
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// To nearest, ties to even; subnormals to zero, as vcvtneps2bf16 does.
inline uint16_t toBfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);  // a quiet NaN
  if (magnitude < 0x00800000u) return static_cast<uint16_t>((bits & 0x80000000u) >> 16);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// To nearest, ties to even; what is 65520 or more becomes infinite.
inline uint16_t toFloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // a subnormal: a multiple of 2^-24, rounded by the addition
    float m;
    std::memcpy(&m, &magnitude, 4);
    m += 0.5f;
    std::memcpy(&bits, &m, 4);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000u));
  }
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13));
}

}  // namespace clip
