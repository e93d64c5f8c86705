#pragma once
// Runs of real kernels for the tests of the emulators. Those that return nothing throw what is reported.
#include <functional>
#include <string>
#include <vector>

#include "backend.h"
#include "device.h"

// attention_cases.cc: the shapes of the first prototype of the attention kernels, 14 for each type.
std::vector<std::function<void()>> attentionRuns();
// Returns "" or what is wrong, with both types, the masks full and causal, and head dimensions of both kinds.
std::string attentionHolds(const device::Machine&);

// linear_cases.cc
std::vector<std::function<void()>> productRuns();
std::string linearHolds(const device::Machine&);

// Shapes of models, cut where the rest would only repeat: return "" or what is wrong. bank_cases.cc counts
// the bank conflicts in them.
std::string attentionOfModels(const device::Machine&);
std::string linearOfModels(const device::Machine&);
std::string convOfModels(const device::Machine&);    // conv_cases.cc
std::string cosineOfModels(const device::Machine&);  // rows_cases.cc
