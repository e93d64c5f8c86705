// The neon backend: its kernels and its tables. Every arm64 CPU has these instructions, so this file needs no
// target region.
#include "cpu/features.h"

#if CLIP_ARM64
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/attention_plan.h"
#include "cpu/tables.h"
#include "half.h"
#include "pool/context.h"
#include "resample.h"
#include "top_k.h"

namespace clip {
namespace {

#include "cpu/neon.inl"

struct Joining {
  static constexpr bool exists = false;  // loads that cross a line cost little here
};

#include "cpu/kernels.inl"
#include "cpu/resize_neon.inl"

bool available(std::string* why) {
  if (cpuFeatures().neon) return true;
  if (why) *why = "this CPU or its operating system lacks Advanced SIMD";
  return false;
}

#include "cpu/table.inl"

constexpr Backend kPlain = plainTable("neon", available);

// The plain table with the products of what the CPU has besides.
template <AttentionEntry AttentionBf16, LinearEntry LinearBf16, LinearEntry LinearInt8, ConvEntry ConvBf16,
          ConvEntry ConvInt8>
constexpr Backend with(const char* features) {
  Backend b = kPlain;
  b.features = features;
  b.attention = attention<AttentionBf16>;
  b.linear = linear<LinearBf16, LinearInt8>;
  b.conv = conv<ConvBf16, ConvInt8>;
  return b;
}
constexpr AttentionEntry kAttentionWidened = attentionOf<Float32>;
constexpr LinearEntry kWidened = linearOf<Bfloat16AsFloat32>, kInt16 = linearOf<Int8AsInt16>;
constexpr ConvEntry kConvWidened = convOf<Bfloat16AsFloat32>, kConvInt16 = convOf<Int8AsInt16>;

}  // namespace

// As kDotprod, kI8mm and kNeonBf16 of tables.h count.
const Backend neonBackends[6] = {
    kPlain,
    with<kAttentionWidened, kWidened, linearNeonDotprod, kConvWidened, convNeonDotprod>("+dotprod"),
    with<kAttentionWidened, kWidened, linearNeonI8mm, kConvWidened, convNeonI8mm>("+i8mm"),
    with<attentionNeonBf16, linearNeonBf16, kInt16, convNeonBf16, kConvInt16>("+bf16"),
    with<attentionNeonBf16, linearNeonBf16, linearNeonDotprod, convNeonBf16, convNeonDotprod>(
        "+dotprod+bf16"),
    with<attentionNeonBf16, linearNeonBf16, linearNeonI8mm, convNeonBf16, convNeonI8mm>("+i8mm+bf16")};

}  // namespace clip
#endif
