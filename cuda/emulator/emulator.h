#pragma once
// Runs CUDA kernels on the CPU, one fiber per CUDA thread, with checks that a GPU does not make: divergent
// barriers and deadlocks; bounds, alignment, initialisation and races of shared memory; cp.async data used
// before it was waited for; lanes missing from a warp mask. README.md lists what it cannot detect.
#include "tensor_core.h"
