#pragma once
// The CPU backends of this build, and how CPUs with further features improve them: two lists in which each
// row is an instruction set.
#include "backend.h"
#include "cpu/features.h"

namespace clip::cpu {

// Faster kernels for a backend, compiled for more instructions, in a file of their own. `patch` puts them
// into the table of `backend` if the CPU has all features in `needs` and none in `unless`.
struct Variant {
  const Backend* backend;
  Features needs, unless;
  const char* name;  // as reported by Backend::features
  void (*patch)(Backend&);
};

// A backend, and the features of the CPU that its plain table needs.
struct Table {
  const Backend* backend;
  Features needs;
};

#if CLIP_X86
extern const Backend avx2, avx512;
constexpr Table kTables[] = {{&avx512, kAvx512}, {&avx2, kAvx2}};  // the best first

void avx2Vl(Backend&);
void avx2AvxVnni(Backend&);
void avx512Vnni(Backend&);
void avx512Bf16(Backend&);
#if CLIP_AMX
void avx512Amx(Backend&);
#endif
// In the order in which they are applied: later variants override earlier ones.
constexpr Variant kVariants[] = {
    // 256-bit VNNI has two encodings; if a CPU has both, the shorter one is preferred.
    {&avx2, kVnni, kAvxVnni, "+vnni", avx2Vl},
    {&avx2, kAvxVnni, 0, "+vnni", avx2AvxVnni},
    {&avx512, kVnni, 0, "+vnni", avx512Vnni},
    {&avx512, kBf16, 0, "+bf16", avx512Bf16},
#if CLIP_AMX
    {&avx512, kAmx | kVnni | kBf16, 0, "+amx", avx512Amx},
#endif
};
#elif CLIP_ARM64
extern const Backend neon;
constexpr Table kTables[] = {{&neon, kNeon}};

void neonDotprod(Backend&);
void neonI8mm(Backend&);
void neonBf16(Backend&);
constexpr Variant kVariants[] = {
    {&neon, kDotprod, kI8mm, "+dotprod", neonDotprod},
    {&neon, kI8mm, 0, "+i8mm", neonI8mm},
    {&neon, kBf16, 0, "+bf16", neonBf16},
};
#endif

// `plain` with every variant applied that a CPU with these features can run. Tables are built on first use
// and kept, one for each set of variants.
const Backend& tuned(const Backend& plain, Features);

}  // namespace clip::cpu
