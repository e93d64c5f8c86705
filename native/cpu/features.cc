#include "cpu/features.h"

#if CLIP_ARM64 && defined(__linux__)
#include <sys/auxv.h>
#elif CLIP_ARM64 && defined(__APPLE__)
#include <sys/sysctl.h>
#elif CLIP_X86
#include <cpuid.h>
#if CLIP_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace clip {
#if CLIP_ARM64 && defined(__APPLE__)
// Not run so far, because no such machine was available.
static bool has(const char* feature) {
  int value = 0;
  size_t size = sizeof(value);
  return sysctlbyname(feature, &value, &size, nullptr, 0) == 0 && value != 0;
}
#elif CLIP_X86
// clang's __builtin_cpu_supports knows AVX-VNNI only since version 15. The feature uses the registers of AVX2
// and needs no further support by the operating system.
static bool hasAvxVnni() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & 1u << 4);
}
// Compilers do not know this one either. Every CPU with AVX2 has it, but a hypervisor may hide it.
static bool hasF16c() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & 1u << 29);
}
#if CLIP_AMX
// Linux lets a process use the tile registers only after a request. Their 8 KB become part of every signal
// frame, so Linux refuses if a thread has installed an alternate signal stack that is too small for them.
static bool hasAmx() {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25;
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  if ((edx & (kBf16 | kTile | kInt8)) != (kBf16 | kTile | kInt8)) return false;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif
#endif

Features cpuFeatures() {
  static const Features features = [] {
    Features f = 0;
    [[maybe_unused]] const auto add = [&f](Feature feature, bool there) {
      f |= there ? Features{feature} : 0;
    };
#if CLIP_X86
    // The compiler's function also checks what the operating system has enabled (XGETBV), not only CPUID.
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && hasF16c();
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
    const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
    add(kAvx2, avx2);
    add(kAvx512, avx512);
    add(kVnni, vnni);
    add(kAvxVnni, avx2 && hasAvxVnni());
    add(kBf16, bf16);
#if CLIP_AMX
    add(kAmx, vnni && bf16 && hasAmx());
#endif
    add(kVbmi, avx512 && __builtin_cpu_supports("avx512vbmi"));
#elif CLIP_ARM64 && defined(__linux__)
    // Bits by number, because old headers lack the names (asm/hwcap.h, Linux 5.10).
    const unsigned long caps = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
    add(kNeon, caps >> 1 & 1);      // HWCAP_ASIMD
    add(kDotprod, caps >> 20 & 1);  // HWCAP_ASIMDDP
    add(kI8mm, more >> 13 & 1);     // HWCAP2_I8MM
    add(kBf16, more >> 14 & 1);     // HWCAP2_BF16
#elif CLIP_ARM64 && defined(__APPLE__)
    add(kNeon, true);
    add(kDotprod, has("hw.optional.arm.FEAT_DotProd"));
    add(kI8mm, has("hw.optional.arm.FEAT_I8MM"));
    add(kBf16, has("hw.optional.arm.FEAT_BF16"));
#elif CLIP_ARM64
    add(kNeon, true);
#endif
    return f;
  }();
  return features;
}

}  // namespace clip
