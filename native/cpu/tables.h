#pragma once
// The CPU tables of this build, for registry.cc.
#include "backend.h"
#include "cpu/features.h"

namespace clip {
// The entries of a table that files of their own give. Each is compiled for the instructions in its name, and
// nothing else is.
using AttentionEntry = void (*)(Context&, const Attention&);
using LinearEntry = void (*)(Context&, const Linear&);
using ConvEntry = void (*)(Context&, const Conv&);

#if CLIP_X86
// Each is a table and copies of it whose entries use more: [0] nothing, [kVnni], [kBf16], [kVnni + kBf16].
constexpr int kVnni = 1, kBf16 = 2;
extern const Backend avx2Backends[2], avx512Backends[4];

void attentionAvx512Bf16(Context&, const Attention&);
void linearAvx512Bf16(Context&, const Linear&);
void convAvx512Bf16(Context&, const Conv&);
void linearAvx512Vnni(Context&, const Linear&);
void convAvx512Vnni(Context&, const Conv&);
#if CLIP_AMX
extern const Backend avx512AmxBackend;  // with VNNI and BF16
void linearAvx512AmxBf16(Context&, const Linear&);
void convAvx512AmxBf16(Context&, const Conv&);
void linearAvx512AmxInt8(Context&, const Linear&);
void convAvx512AmxInt8(Context&, const Conv&);
#endif
// 256-bit VNNI in its two encodings: of AVX-512 VL, and of CPUs that have AVX-VNNI but no AVX-512.
void linearAvx2Vl(Context&, const Linear&);
void convAvx2Vl(Context&, const Conv&);
void linearAvx2AvxVnni(Context&, const Linear&);
void convAvx2AvxVnni(Context&, const Conv&);
#endif

#if CLIP_ARM64
// A table and its copies, by their int8 products (0: int16, kDotprod or kI8mm) plus kNeonBf16 or not.
constexpr int kDotprod = 1, kI8mm = 2, kNeonBf16 = 3;
extern const Backend neonBackends[6];

void linearNeonDotprod(Context&, const Linear&);
void convNeonDotprod(Context&, const Conv&);
void linearNeonI8mm(Context&, const Linear&);
void convNeonI8mm(Context&, const Conv&);
void attentionNeonBf16(Context&, const Attention&);
void linearNeonBf16(Context&, const Linear&);
void convNeonBf16(Context&, const Conv&);
#endif
}  // namespace clip
