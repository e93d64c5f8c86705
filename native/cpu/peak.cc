// Measures chains of independent instructions whose operands are all in registers, and reads of more memory
// than fits any cache.
//
// Each loop is one asm block that names its registers, so that no compiler can move a sum to memory. There
// are 24 chains because Zen 5 starts two 512-bit instructions per cycle and vdpbf16ps has a latency of 6
// cycles there (12 chains reached 440 of 480 GFLOP/s). Sums start at zero and stay zero: changing numbers
// lower the clock by 1 to 2 %.
#include "cpu/peak.h"

#include <chrono>
#include <cstdint>
#include <cstring>

#include "cpu/features.h"
#include "threads/context.h"
#include "threads/threads.h"

namespace clip {
namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point from) { return std::chrono::duration<double>(Clock::now() - from).count(); }

#if CLIP_X86 || CLIP_ARM64

constexpr int64_t kTurns = 20'000;
#define CLIP_14 "0,1,2,3,4,5,6,7,8,9,10,11,12,13"
#define CLIP_24 CLIP_14 ",14,15,16,17,18,19,20,21,22,23"

#if CLIP_X86
// Returns turns x chains x operations per instruction. The numbers in LIST are the registers of the chains;
// FACTOR is the register used as both factors.
#define CLIP_PEAK(NAME, TARGET, ZERO, STEP, R, LIST, CHAINS, FACTOR, OPERATIONS, ...)                    \
  __attribute__((target(TARGET), noinline)) double NAME() {                                              \
    int64_t turns = kTurns;                                                                              \
    asm volatile(".irp k," LIST "," FACTOR "\n\t" ZERO " %%" R "\\k, %%" R "\\k, %%" R                   \
                 "\\k\n\t.endr\n"                                                                        \
                 "1:\n\t.irp k," LIST "\n\t" STEP " %%" R FACTOR ", %%" R FACTOR ", %%" R                \
                 "\\k\n\t.endr\n\t"                                                                      \
                 "dec %0\n\tjnz 1b\n\tvzeroupper"                                                        \
                 : "+r"(turns)                                                                           \
                 :                                                                                       \
                 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                   "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15" __VA_ARGS__);                    \
    return double(kTurns) * CHAINS * OPERATIONS;                                                         \
  }
#define CLIP_UPPER , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24"

CLIP_PEAK(fma256, "avx2,fma", "vpxor", "vfmadd231ps", "ymm", CLIP_14, 14, "15", 16)
CLIP_PEAK(fma512, "avx512f", "vpxord", "vfmadd231ps", "zmm", CLIP_24, 24, "24", 32, CLIP_UPPER)
CLIP_PEAK(dotBf16, "avx512f", "vpxord", "vdpbf16ps", "zmm", CLIP_24, 24, "24", 64, CLIP_UPPER)
CLIP_PEAK(dotInt8, "avx512f", "vpxord", "vpdpbusd", "zmm", CLIP_24, 24, "24", 128, CLIP_UPPER)

#if CLIP_AMX
// Four sums of 16 x 16, as in the tiles of avx512_amx.cc; each product takes 16 rows of 64 bytes.
#define CLIP_TILES(NAME, STEP, OPERATIONS)                                             \
  __attribute__((target("amx-tile,amx-bf16,amx-int8"), noinline)) double NAME() {      \
    struct alignas(64) {                                                               \
      uint8_t palette = 1, reserved[15] = {};                                          \
      uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};                        \
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};                             \
    } shape;                                                                           \
    int64_t turns = kTurns;                                                            \
    asm volatile("ldtilecfg %1\n1:\n\t" STEP " %%tmm6, %%tmm4, %%tmm0\n\t" STEP        \
                 " %%tmm7, %%tmm4, %%tmm1\n\t" STEP " %%tmm6, %%tmm5, %%tmm2\n\t" STEP \
                 " %%tmm7, %%tmm5, %%tmm3\n\tdec %0\n\tjnz 1b\n\ttilerelease"          \
                 : "+r"(turns)                                                         \
                 : "m"(shape)                                                          \
                 : "cc");                                                              \
    return double(kTurns) * 4 * OPERATIONS;                                            \
  }
CLIP_TILES(tilesBf16, "tdpbf16ps", 2 * 16 * 16 * 32)
CLIP_TILES(tilesInt8, "tdpbusd", 2 * 16 * 16 * 64)
#endif

#else
// Twenty-four chains hide a latency of six cycles at four instructions per cycle. The multiplications are by
// lane, as in the tiles. Figures measured under emulation mean nothing, and this has not been run on hardware
// yet.
#if defined(__clang__)
#define CLIP_TARGET(GCC, CLANG) __attribute__((target(CLANG)))
#else
#define CLIP_TARGET(GCC, CLANG) __attribute__((target(GCC)))
#endif
#define CLIP_PEAK(NAME, STEP, OPERATIONS)                                                                 \
  __attribute__((noinline)) double NAME() {                                                               \
    int64_t turns = kTurns;                                                                               \
    asm volatile(".irp k," CLIP_24                                                                        \
                 ",30,31\n\tmovi v\\k\\().16b, #0\n\t.endr\n"                                             \
                 "1:\n\t.irp k," CLIP_24 "\n\t" STEP                                                      \
                 "\n\t.endr\n\t"                                                                          \
                 "subs %0, %0, #1\n\tb.ne 1b"                                                             \
                 : "+r"(turns)                                                                            \
                 :                                                                                        \
                 : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", \
                   "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v30",    \
                   "v31");                                                                                \
    return double(kTurns) * 24 * OPERATIONS;                                                              \
  }

// clang-format off: it would misread the attributes
CLIP_PEAK(fmla, "fmla v\\k\\().4s, v30.4s, v31.s[0]", 8)
CLIP_TARGET("arch=armv8.2-a+bf16", "bf16")
CLIP_PEAK(bfdot, "bfdot v\\k\\().4s, v30.8h, v31.2h[0]", 16)
CLIP_TARGET("arch=armv8.2-a+dotprod", "dotprod")
CLIP_PEAK(sdot, "sdot v\\k\\().4s, v30.16b, v31.4b[0]", 32)
// clang-format on
#endif

// The best of many short runs: other activity on the machine can only slow a run down, and the clock needs
// some milliseconds to rise.
double rate(double (*work)()) {
  double best = 0;
  for (const auto begin = Clock::now(); since(begin) < 0.06;) {
    const auto from = Clock::now();
    const double operations = work(), seconds = since(from);
    if (operations / seconds > best) best = operations / seconds;
  }
  return best;
}

#endif

}  // namespace

double measurePeak([[maybe_unused]] Dtype dtype) {
#if CLIP_X86 || CLIP_ARM64
  const Features f = cpuFeatures();
#if CLIP_X86
  const auto larger = [](double a, double b) { return a > b ? a : b; };
  const auto float32 = [&] { return larger(f & kAvx2 ? rate(fma256) : 0, f & kAvx512 ? rate(fma512) : 0); };
#if CLIP_AMX
  if ((f & kAmx) && dtype == Dtype::bfloat16) return rate(tilesBf16);
  if ((f & kAmx) && dtype == Dtype::int8) return rate(tilesInt8);
#endif
  const auto bfloat16 = [&] { return f & kBf16 ? rate(dotBf16) : 0; };
  const auto int8 = [&] { return f & kVnni ? rate(dotInt8) : 0; };
#else
  const auto float32 = [&] { return f & kNeon ? rate(fmla) : 0; };
  const auto bfloat16 = [&] { return f & kBf16 ? rate(bfdot) : 0; };
  const auto int8 = [&] { return f & kDotprod ? rate(sdot) : 0; };
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
#else
  return 0;
#endif
}

double measureStream(int threads) {
  constexpr size_t kBytes = size_t{256} << 20;
  const Bytes memory(kBytes);
  auto* words = static_cast<uint64_t*>(memory.data);
  std::memset(words, 1, kBytes);  // otherwise every page would be mapped to the one page of zeros
  struct Part {
    const uint64_t* words;
    size_t count;
  };
  constexpr int kParts = 64;
  const Part part{words, kBytes / sizeof(uint64_t) / kParts};
  double best = 0;
  for (int run = 0; run < 6; ++run) {
    const auto from = Clock::now();
    parallelFor(
        threads, kParts,
        [](const void* op, int chunk, int) {
          const auto& [all, count] = *static_cast<const Part*>(op);
          const uint64_t* p = all + count * chunk;
          uint64_t sum[8] = {};
          for (size_t i = 0; i < count; i += 8)
            for (size_t j = 0; j < 8; ++j) sum[j] |= p[i + j];
          for (const uint64_t s : sum) asm volatile("" : : "r"(s));
        },
        &part);
    const double r = kBytes / since(from);
    if (r > best) best = r;
  }
  return best;
}

}  // namespace clip
