#pragma once
// The beginning of every .cc file of this folder: what all of them include, and the region that is compiled
// for more instructions than the rest of the addon. The headers come before the region, because an inline
// function of a header that is compiled inside it could replace the portable copy of another file. Only .cc
// files of this folder include this header (test/architecture.test.ts).
#include "cpu/features.h"

#if CLIP_X86
#include <immintrin.h>
#elif CLIP_ARM64
#include <arm_neon.h>
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/attention_plan.h"
#include "cpu/variants.h"
#include "half.h"
#include "threads/context.h"
#include "resample.h"
#include "top_k.h"

#define CLIP_AVX2 "avx2,fma,f16c"
#define CLIP_AVX512 "avx512f,avx512bw,avx512dq,avx512vl," CLIP_AVX2

// CLIP_BEGIN_TARGET("instructions") ... CLIP_END_TARGET enclose the namespaces of a file.
#define CLIP_PRAGMA(TEXT) _Pragma(#TEXT)
#if defined(__clang__)
#define CLIP_BEGIN_TARGET(SET) \
  CLIP_PRAGMA(clang attribute push(__attribute__((target(SET))), apply_to = function))
#define CLIP_END_TARGET CLIP_PRAGMA(clang attribute pop)
#elif CLIP_ARM64
#define CLIP_BEGIN_TARGET(SET) CLIP_PRAGMA(GCC push_options) CLIP_PRAGMA(GCC target("arch=armv8.2-a+" SET))
#define CLIP_END_TARGET CLIP_PRAGMA(GCC pop_options)
#else
#define CLIP_BEGIN_TARGET(SET) CLIP_PRAGMA(GCC push_options) CLIP_PRAGMA(GCC target(SET))
#define CLIP_END_TARGET CLIP_PRAGMA(GCC pop_options)
// g++'s own header uses _mm512_undefined, which causes these warnings.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
