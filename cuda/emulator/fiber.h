#pragma once
// Fibers: who runs is a matter of the stack pointer. x86-64 by hand, other machines by ucontext, slower.
#include "state.h"

namespace emulator {

void makeFiber(Thread&);  // at the beginning of block.body()
void resume(Thread&);     // until it yields

}  // namespace emulator
