// The avx2 backend: its kernels and its tables.
#include "cpu/target.h"

#if CLIP_X86
CLIP_BEGIN_TARGET(CLIP_AVX2)

namespace clip {
namespace {

#include "cpu/avx2.inl"

struct Joining {
  static constexpr bool exists = false;  // its vectors are half a cache line wide
};

#include "cpu/kernels.inl"
#include "cpu/resize_x86.inl"

}  // namespace
}  // namespace clip

CLIP_END_TARGET

namespace clip {
namespace {
bool available(std::string* why) {
  if (cpuFeatures() & kAvx2) return true;
  if (why) *why = "this CPU or its operating system lacks AVX2 and FMA";
  return false;
}

#include "cpu/table.inl"

}  // namespace

const Backend cpu::avx2 = plainTable("avx2", available);

}  // namespace clip
#endif
