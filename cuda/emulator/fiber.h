#pragma once
// Fibers, switched by exchanging the stack pointer: hand-written for x86-64, and with the slower ucontext on
// other machines.
#include "state.h"

namespace emulator {

void makeFiber(Thread&);  // prepares it to start with block.body()
void resume(Thread&);     // returns when it yields

}  // namespace emulator
