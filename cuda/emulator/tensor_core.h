#pragma once
// ldmatrix and mma.sync, with the fragment layouts of the PTX manual.
#include "collectives.h"

namespace emulator {

// ldmatrix.sync.aligned.m8n8.x{2,4}[.trans].shared.b16: lane i provides the address of row i.
void loadMatrices(uint32_t* registers, int count, bool transposed, SharedAddress row, int line);

// mma.sync.aligned.m16n8k{8,16}.row.col.f32: c (16, 8) += a (16, k) b (k, 8).
void multiplyAdd(float* c, const uint32_t* a, const uint32_t* b, int k, bool bfloat16, int line);

// Rounds to nearest, ties to even, like cvt.rn: subnormals are kept, every NaN becomes 0x7fff.
uint16_t roundToBfloat16(float);
uint16_t roundToFloat16(float);
float fromFloat16(uint16_t);

}  // namespace emulator
