#pragma once
// Runs of real kernels under the fiber emulator, for the tests of the emulator: each throws what is reported.
#include <functional>
#include <string>
#include <vector>

#include "backend.h"
#include "device.h"

// attention_cases.cc: the shapes of the attention kernels' first prototype, 14 for each type.
std::vector<std::function<void()>> attentionRuns();
// "" or what is wrong, with both types, the masks full and causal and head dimensions of both kinds.
std::string attentionHolds(const device::Machine&);

// linear_cases.cc
std::vector<std::function<void()>> productRuns();
std::string linearHolds(const device::Machine&);
