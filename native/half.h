#pragma once
// Conversions of stored numbers to float32, and of float32 to float16 and bfloat16.
#include <cstring>

#include "backend.h"

namespace clip {

// Element c of a row of float32, float16 or bfloat16, as float32. Exact.
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

// Rounds to nearest, ties to even; values beyond 65504 become infinity.
inline uint16_t toFloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude < 0x38800000u) {  // below 2^-14: multiples of 2^-24
    float size;
    std::memcpy(&size, &magnitude, 4);
    // The last place of the sum is 2^-24, so the addition does the rounding.
    const float sum = size + 0.5f;
    std::memcpy(&bits, &sum, 4);
    return static_cast<uint16_t>(sign | (bits & 0x7fffffu));
  }
  const uint32_t rounded = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
  return static_cast<uint16_t>(sign | (rounded < 0x7c00u ? rounded : 0x7c00u));
}

// Rounds to nearest, ties to even; subnormals become zero, as in vcvtneps2bf16.
inline uint16_t toBfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);  // a quiet NaN
  if (magnitude < 0x00800000u) return static_cast<uint16_t>((bits & 0x80000000u) >> 16);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace clip
