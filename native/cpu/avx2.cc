// The avx2 backend: its kernels and its tables.
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
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace clip {
namespace {

#include "cpu/avx2.inl"

struct Joining {
  static constexpr bool exists = false;  // its vectors are half lines
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
  if (cpuFeatures().avx2) return true;
  if (why) *why = "this CPU or its operating system lacks AVX2 and FMA";
  return false;
}

#include "cpu/table.inl"

constexpr Backend kPlain = plainTable("avx2", available);

// Which of the two encodings of VNNI runs is the CPU's choice, not the compiler's.
void linearVnni(Context& context, const Linear& l) {
  (cpuFeatures().avxVnni ? linearAvx2AvxVnni : linearAvx2Vl)(context, l);
}
void convVnni(Context& context, const Conv& c) {
  (cpuFeatures().avxVnni ? convAvx2AvxVnni : convAvx2Vl)(context, c);
}
constexpr Backend withVnni() {
  Backend b = kPlain;
  b.features = "+vnni";
  b.linear = linear<linearOf<Bfloat16AsFloat32>, linearVnni>;
  b.conv = conv<convOf<Bfloat16AsFloat32>, convVnni>;
  return b;
}

}  // namespace

const Backend avx2Backends[2] = {kPlain, withVnni()};

}  // namespace clip
#endif
