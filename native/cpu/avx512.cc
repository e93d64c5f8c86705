// The avx512 backend: its kernels and its tables.
#include "cpu/features.h"

#if CLIP_X86
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/attention_plan.h"
#include "cpu/tables.h"
#include "half.h"
#include "pool/context.h"
#include "resample.h"
#include "top_k.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // _mm512_undefined in g++'s own header
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace clip {
namespace {

#include "cpu/avx512.inl"

// For rows that start inside a line (cosine.inl): lanes from `lane` on of an aligned vector, the others 0;
// the numbers lane, lane + 1, ...; and those lanes of two vectors in a row.
struct Joining {
  static constexpr bool exists = true;
  static CLIP_VECTOR F loadFrom(const float* line, int lane) {
    return _mm512_maskz_load_ps(__mmask16(0xffffu << lane), line);
  }
  static CLIP_VECTOR I lanesFrom(int lane) {
    return add(allInt(lane), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  }
  static CLIP_VECTOR F joined(F a, F b, I lanes) { return _mm512_permutex2var_ps(a, lanes, b); }
};

#include "cpu/kernels.inl"
#include "cpu/resize_x86.inl"

}  // namespace
}  // namespace clip

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace clip {
namespace {
bool available(std::string* why) {
  if (cpuFeatures().avx512) return true;
  if (why) *why = "this CPU or its operating system lacks AVX-512 F, BW, DQ and VL";
  return false;
}

#include "cpu/table.inl"

constexpr Backend kPlain = plainTable("avx512", available);

// The plain table with the products of what the CPU has besides.
template <AttentionEntry AttentionBf16, LinearEntry LinearBf16, LinearEntry LinearInt8, ConvEntry ConvBf16,
          ConvEntry ConvInt8>
constexpr Backend with(const char* features) {
  Backend b = kPlain;
  b.attention = attention<AttentionBf16>;
  b.features = features;
  b.linear = linear<LinearBf16, LinearInt8>;
  b.conv = conv<ConvBf16, ConvInt8>;
  return b;
}

}  // namespace

const Backend avx512Backends[4] = {
    kPlain,
    with<attentionOf<Float32>, linearOf<Bfloat16AsFloat32>, linearAvx512Vnni, convOf<Bfloat16AsFloat32>,
         convAvx512Vnni>("+vnni"),
    with<attentionAvx512Bf16, linearAvx512Bf16, linearOf<Int8AsInt16>, convAvx512Bf16, convOf<Int8AsInt16>>(
        "+bf16"),
    with<attentionAvx512Bf16, linearAvx512Bf16, linearAvx512Vnni, convAvx512Bf16, convAvx512Vnni>(
        "+vnni+bf16")};
#if CLIP_AMX
const Backend avx512AmxBackend =
    with<attentionAvx512Bf16, linearAvx512AmxBf16, linearAvx512AmxInt8, convAvx512AmxBf16, convAvx512AmxInt8>(
        "+vnni+bf16+amx");
#endif

}  // namespace clip
#endif
