#pragma once
// What the arithmetic units of this CPU give at most: what benchmarks divide by.
#include "backend.h"

namespace clip {

// Multiplications and additions per second of one thread whose operands are all in registers: float32 FMA,
// bfloat16 dot products of pairs, int8 dot products of fours, in the widest registers that this CPU has for
// each. 0 where it has no such instruction (then the float32 peak is the nearest bound) or is neither
// x64 nor arm64.
double measurePeak(Dtype dtype);

}  // namespace clip
