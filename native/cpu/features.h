#pragma once
// What the CPU and the operating system let us execute.
namespace clip {

struct CpuFeatures {
  bool avx2 = false;     // AVX2, FMA and F16C
  bool avx512 = false;   // AVX-512 F, BW, DQ and VL
  bool vnni = false;     // AVX512_VNNI
  bool avxVnni = false;  // AVX-VNNI: the same on 256 bits, without AVX-512
  bool bf16 = false;     // AVX512_BF16; FEAT_BF16 of arm64
  bool amx = false;      // AMX-TILE, AMX-BF16 and AMX-INT8, with vnni and bf16
  bool vbmi = false;     // AVX512_VBMI
  bool neon = false;     // Advanced SIMD: every arm64 CPU that Node runs on
  bool dotprod = false;  // FEAT_DotProd
  bool i8mm = false;     // FEAT_I8MM
};
const CpuFeatures& cpuFeatures();

// The tables exist only where their instructions do, and x86's not in the quick build of the fuzz targets.
#if !CLIP_WITHOUT_X86 && defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define CLIP_X86 1
#else
#define CLIP_X86 0
#endif
// A system that we can ask for the registers, and a compiler that knows the instructions.
#if CLIP_X86 && defined(__linux__) && (defined(__clang__) || __GNUC__ >= 11)
#define CLIP_AMX 1
#else
#define CLIP_AMX 0
#endif
#if defined(__aarch64__) && !defined(__AARCH64EB__) && (defined(__GNUC__) || defined(__clang__))
#define CLIP_ARM64 1
#else
#define CLIP_ARM64 0
#endif

}  // namespace clip
