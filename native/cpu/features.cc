#include "cpu/features.h"

#if CLIP_X86
#include <cpuid.h>
#endif

namespace clip {
#if CLIP_X86
namespace {

// The compilers' tables know it only since clang 15. It uses the registers of AVX2 and needs no more of the
// operating system.
bool hasAvxVnni() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & 1u << 4);
}

}  // namespace
#endif

const CpuFeatures& cpuFeatures() {
  static const CpuFeatures features = [] {
    CpuFeatures f;
#if CLIP_X86
    // The compiler's table takes the operating system into account (XGETBV), not CPUID alone.
    __builtin_cpu_init();
    f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    f.avx512 = f.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    f.vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
    f.avxVnni = f.avx2 && hasAvxVnni();
    f.bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
    f.vbmi = f.avx512 && __builtin_cpu_supports("avx512vbmi");
#endif
    return f;
  }();
  return features;
}

}  // namespace clip
