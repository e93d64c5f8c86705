// Chains of independent instructions in registers, and nothing else.
#include "cpu/peak.h"

#include <chrono>

#include "cpu/features.h"

#if CLIP_X86
#include <immintrin.h>

namespace clip {
namespace {

constexpr int kTurns = 200'000;

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
  const auto larger = [](double a, double b) { return a > b ? a : b; };
  switch (dtype) {
    case Dtype::float32:
      return larger(f.avx2 ? rate(fma256) : 0, f.avx512 ? rate(fma512) : 0);
    case Dtype::bfloat16:
      return f.bf16 ? rate(dotBf16) : 0;
    case Dtype::int8:
      return f.vnni ? rate(dotInt8) : 0;
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
