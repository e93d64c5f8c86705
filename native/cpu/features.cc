#include "cpu/features.h"

namespace clip {

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
    f.avxVnni = f.avx2 && __builtin_cpu_supports("avxvnni");
    f.bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
    f.vbmi = f.avx512 && __builtin_cpu_supports("avx512vbmi");
#endif
    return f;
  }();
  return features;
}

}  // namespace clip
