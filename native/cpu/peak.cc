// Chains of independent instructions in registers, and nothing else.
#include "cpu/peak.h"

#include <chrono>

#include "cpu/features.h"

#if CLIP_X86
#include <immintrin.h>
#endif

#if CLIP_X86 || CLIP_ARM64
namespace clip {
namespace {

constexpr int kTurns = 200'000;

#if CLIP_X86
// Operations of one call: turns x chains x lanes x 2.
// Twelve chains hide a latency of up to six cycles at two instructions a cycle. The empty asm keeps a sum in
// its register and its value unknown, so that no compiler may shorten the work.
#define CLIP_PEAK(NAME, TARGET, TYPE, STEP, LANES)                                                         \
  __attribute__((target(TARGET))) double NAME() {                                                          \
    TYPE s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{}, s8{}, s9{}, s10{}, s11{}, a{}, b{};               \
    asm volatile("" : "+v"(a), "+v"(b));                                                                   \
    for (int i = 0; i < kTurns; ++i) {                                                                     \
      STEP(s0)                                                                                             \
      STEP(s1) STEP(s2) STEP(s3) STEP(s4) STEP(s5) STEP(s6) STEP(s7) STEP(s8) STEP(s9) STEP(s10) STEP(s11) \
    }                                                                                                      \
    return double(kTurns) * 12 * LANES * 2;                                                                \
  }
#define CLIP_FMA256(S) asm volatile("vfmadd231ps %1, %2, %0" : "+v"(S) : "v"(a), "v"(b));
#define CLIP_FMA512(S) asm volatile("vfmadd231ps %1, %2, %0" : "+v"(S) : "v"(a), "v"(b));
#define CLIP_DOT_BF16(S) asm volatile("vdpbf16ps %1, %2, %0" : "+v"(S) : "v"(a), "v"(b));
#define CLIP_DOT_INT8(S) asm volatile("vpdpbusd %1, %2, %0" : "+v"(S) : "v"(a), "v"(b));

CLIP_PEAK(fma256, "avx2,fma", __m256, CLIP_FMA256, 8)
CLIP_PEAK(fma512, "avx512f", __m512, CLIP_FMA512, 16)
CLIP_PEAK(dotBf16, "avx512f", __m512, CLIP_DOT_BF16, 32)
CLIP_PEAK(dotInt8, "avx512f", __m512i, CLIP_DOT_INT8, 64)

#else
// Twenty-four chains hide a latency of six cycles at four instructions a cycle; by lane, as in the tiles.
// Under emulation the figures mean nothing, and no hardware has given any yet.
#if defined(__clang__)
#define CLIP_TARGET(GCC, CLANG) __attribute__((target(CLANG)))
#else
#define CLIP_TARGET(GCC, CLANG) __attribute__((target(GCC)))
#endif
#define CLIP_SIX(S, A, B, C, D, E, F) S(A) S(B) S(C) S(D) S(E) S(F)
#define CLIP_PEAK(NAME, STEP, OPERATIONS)                                                               \
  double NAME() {                                                                                       \
    int turns = kTurns;                                                                                 \
    asm volatile(                                                                                       \
        "movi v30.16b, #0\n\tmovi v31.16b, #0\n1:\n\t" CLIP_SIX(STEP, "0", "1", "2", "3", "4", "5")     \
            CLIP_SIX(STEP, "6", "7", "8", "9", "10", "11")                                              \
                CLIP_SIX(STEP, "12", "13", "14", "15", "16", "17")                                      \
                    CLIP_SIX(STEP, "18", "19", "20", "21", "22", "23") "subs %w0, %w0, #1\n\tb.ne 1b"   \
        : "+r"(turns)                                                                                   \
        :                                                                                               \
        : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", \
          "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v30", "v31");          \
    return double(kTurns) * 24 * OPERATIONS;                                                            \
  }
#define CLIP_FMLA(N) "fmla v" N ".4s, v30.4s, v31.s[0]\n\t"
#define CLIP_BFDOT(N) "bfdot v" N ".4s, v30.8h, v31.2h[0]\n\t"
#define CLIP_SDOT(N) "sdot v" N ".4s, v30.16b, v31.4b[0]\n\t"

CLIP_PEAK(fmla, CLIP_FMLA, 8)
CLIP_TARGET("arch=armv8.2-a+bf16", "bf16")
CLIP_PEAK(bfdot, CLIP_BFDOT, 16) CLIP_TARGET("arch=armv8.2-a+dotprod", "dotprod")
    CLIP_PEAK(sdot, CLIP_SDOT, 32)
#endif

// The best of some runs: whatever else the machine does can only make one slower.
double rate(double (*work)()) {
  using Clock = std::chrono::steady_clock;
  double best = 0;
  for (int run = 0; run < 12; ++run) {
    const auto from = Clock::now();
    const double operations = work();
    const double seconds = std::chrono::duration<double>(Clock::now() - from).count();
    if (operations / seconds > best) best = operations / seconds;
  }
  return best;
}

}  // namespace

double measurePeak(Dtype dtype) {
  const CpuFeatures& f = cpuFeatures();
#if CLIP_X86
  const auto larger = [](double a, double b) { return a > b ? a : b; };
  const auto float32 = [&] { return larger(f.avx2 ? rate(fma256) : 0, f.avx512 ? rate(fma512) : 0); };
  const auto bfloat16 = [&] { return f.bf16 ? rate(dotBf16) : 0; };
  const auto int8 = [&] { return f.vnni ? rate(dotInt8) : 0; };
#else
  const auto float32 = [&] { return f.neon ? rate(fmla) : 0; };
  const auto bfloat16 = [&] { return f.bf16 ? rate(bfdot) : 0; };
  const auto int8 = [&] { return f.dotprod ? rate(sdot) : 0; };
#endif
  switch (dtype) {
    case Dtype::float32:
      return float32();
    case Dtype::bfloat16:
      return bfloat16();
    case Dtype::int8:
      return int8();
    default:
      return 0;
  }
}

}  // namespace clip

#else

namespace clip {
double measurePeak(Dtype) { return 0; }
}  // namespace clip

#endif
