#pragma once
// The peak performance of this CPU, by which benchmarks divide their results.
#include "backend.h"

namespace clip {

// Multiplications and additions per second of one thread whose operands are all in registers: float32 FMA,
// dot products of bfloat16 pairs, dot products of four int8, each in the widest registers for which this CPU
// has the instruction. 0 if the CPU lacks the instruction (then the float32 peak is the nearest bound) or is
// neither x64 nor arm64.
double measurePeak(Dtype dtype);

// Bytes per second that `threads` threads together read sequentially from memory. Allocates 256 MB during the
// measurement and throws std::bad_alloc if that fails.
double measureStream(int threads);

}  // namespace clip
