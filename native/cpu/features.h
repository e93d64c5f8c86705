#pragma once
// Which instructions the CPU and the operating system let us execute.
#include <cstdint>

namespace clip {

// Sets of instructions, one bit for each.
using Features = uint32_t;
enum Feature : Features {
  kAvx2 = 1 << 0,     // AVX2, FMA and F16C
  kAvx512 = 1 << 1,   // AVX-512 F, BW, DQ and VL
  kVnni = 1 << 2,     // AVX512_VNNI
  kAvxVnni = 1 << 3,  // AVX-VNNI: the same instructions on 256 bits, without AVX-512
  kBf16 = 1 << 4,     // AVX512_BF16; on arm64 FEAT_BF16
  kAmx = 1 << 5,      // AMX-TILE, AMX-BF16 and AMX-INT8
  kVbmi = 1 << 6,     // AVX512_VBMI
  kNeon = 1 << 7,     // Advanced SIMD, which every arm64 CPU that Node runs on has
  kDotprod = 1 << 8,  // FEAT_DotProd
  kI8mm = 1 << 9,     // FEAT_I8MM
};
Features cpuFeatures();

// The names by which CLIP_NATIVE_CPU_FEATURES disables features, and which features each name disables.
struct FeatureName {
  const char* name;
  Features features;
};
constexpr FeatureName kFeatureNames[] = {
    {"avx2", kAvx2 | kAvx512},  // no CPU has AVX-512 without AVX2
    {"avx512", kAvx512},       {"vnni", kVnni | kAvxVnni}, {"bf16", kBf16}, {"amx", kAmx}, {"vbmi", kVbmi},
    {"neon", kNeon},           {"dotprod", kDotprod},      {"i8mm", kI8mm},
};

// The tables exist only on the architecture of their instructions; the quick build of the fuzz targets leaves
// out those of x86.
#if !CLIP_WITHOUT_X86 && defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define CLIP_X86 1
#else
#define CLIP_X86 0
#endif
// AMX needs an operating system that grants the registers on request and a compiler that knows the
// instructions.
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
