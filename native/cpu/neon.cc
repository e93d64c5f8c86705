// The neon backend: its kernels and its tables. Every arm64 CPU has these instructions, so this file needs no
// target region.
#include "cpu/target.h"

#if CLIP_ARM64

namespace clip {
namespace {

#include "cpu/neon.inl"

struct Joining {
  static constexpr bool exists = false;  // loads that cross a cache line cost little here
};

#include "cpu/kernels.inl"
#include "cpu/resize_neon.inl"

bool available(std::string* why) {
  if (cpuFeatures() & kNeon) return true;
  if (why) *why = "this CPU or its operating system lacks Advanced SIMD";
  return false;
}

#include "cpu/table.inl"

}  // namespace

const Backend cpu::neon = plainTable("neon", available);

}  // namespace clip
#endif
