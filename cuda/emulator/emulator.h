#pragma once
// Runs CUDA kernels on the CPU, one fiber per CUDA thread, with checks that a GPU does not make: divergent
// barriers and deadlocks; shared memory's bounds, alignment, initialisation and races; cp.async data used
// before it is waited for; lanes missing from a warp mask. See README.md for what it cannot see.
#include "tensor_core.h"
