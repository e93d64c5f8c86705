#pragma once
// The CPU backends of this build, and what they do on CPUs that have more than they need: one list each, in
// which an instruction set is a row.
#include "backend.h"
#include "cpu/features.h"

namespace clip::cpu {

// Better entries for a backend, compiled for more instructions, in a file of their own. `backend`'s table gets
// them from `patch` where the CPU has all of `needs` and none of `unless`.
struct Variant {
  const Backend* backend;
  Features needs, unless;
  const char* name;  // as Backend::features says it
  void (*patch)(Backend&);
};

// A backend, and what its plain table needs of the CPU.
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
// In the order in which they are applied: what comes later replaces what came before.
constexpr Variant kVariants[] = {
    // 256-bit VNNI in its two encodings, of which the shorter one goes first where a CPU has both.
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

// `plain` with every variant that a CPU with these features runs. Made at first use and kept: there is one
// for each set of variants.
const Backend& tuned(const Backend& plain, Features);

}  // namespace clip::cpu
