#pragma once
// The CPU tables of this build, for backend.cc.
#include "backend.h"
#include "cpu/features.h"

namespace clip {
#if CLIP_X86
extern const Backend avx2Backend, avx512Backend;
#endif
}  // namespace clip
