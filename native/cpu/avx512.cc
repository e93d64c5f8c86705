// The avx512 backend: its kernels and its tables.
#include "cpu/target.h"

#if CLIP_X86
CLIP_BEGIN_TARGET(CLIP_AVX512)

namespace clip {
namespace {

#include "cpu/avx512.inl"

// For rows that do not start at a cache line (cosine.inl). loadFrom loads an aligned vector and clears the
// lanes below `lane`; lanesFrom returns the indices lane, lane + 1, ...; joined selects those lanes from two
// consecutive vectors.
struct Joining {
  static constexpr bool exists = true;
  static CLIP_VECTOR F loadFrom(const float* line, int lane) {
    return _mm512_maskz_load_ps(__mmask16(0xffffu << lane), line);
  }
  static CLIP_VECTOR I lanesFrom(int lane) {
    return add(allInt(lane), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  }
  static CLIP_VECTOR F joined(F a, F b, I lanes) { return _mm512_permutex2var_ps(a, lanes, b); }
};

#include "cpu/kernels.inl"
#include "cpu/resize_x86.inl"

}  // namespace
}  // namespace clip

CLIP_END_TARGET

namespace clip {
namespace {
bool available(std::string* why) {
  if (cpuFeatures() & kAvx512) return true;
  if (why) *why = "this CPU or its operating system lacks AVX-512 F, BW, DQ and VL";
  return false;
}

#include "cpu/table.inl"

}  // namespace

const Backend cpu::avx512 = plainTable("avx512", available);

}  // namespace clip
#endif
