#pragma once
// What this CPU gives at most: what benchmarks divide by.
#include "backend.h"

namespace clip {

// Multiplications and additions per second of one thread whose operands are all in registers: float32 FMA,
// bfloat16 dot products of pairs, int8 dot products of fours, in the widest registers that this CPU has for
// each. 0 where it has no such instruction (then the float32 peak is the nearest bound) or is neither
// x64 nor arm64.
double measurePeak(Dtype dtype);

// Bytes per second that so many threads together read from memory, one after the other. Takes 256 MB
// meanwhile; std::bad_alloc where there are none.
double measureStream(int threads);

}  // namespace clip
